"""What every sampler must do. A new sampler joins with its line in SAMPLERS."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import Budget
from schedsearch.core.facts import Facts
from schedsearch.core.families import Family
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.families.staircase import Staircase
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers import SAMPLERS
from schedsearch.samplers.additive import Additive
from schedsearch.samplers.auto import Auto
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.budgeted import Budgeted
from schedsearch.samplers.frontier import Frontier
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.optuna_sampler import OptunaSampler
from schedsearch.samplers.random_search import RandomMonotone, RandomSearch
from schedsearch.samplers.sampler import Question, Sampler
from schedsearch.samplers.single_cuts import SingleCuts
from tests.pace import examples, some
from tests.unit.samplers.synthetic import answered, enqueued, failed, per_sample, running

LAYERS, N_MAX = 5, 8
SHAPE, TOKENS = DecoderShape(LAYERS, 8, 2, 2, 4, 16, 32), (SampleTokens(N_MAX, 4),)
RANKER = RankerSpec("text")
MEAN_KEEP, FLOPS = Budget("mean_keep", 0.7), Budget("flops", 1.0)

# Each makes a sampler for LAYERS x N_MAX with this many questions at once, to which a failed trial
# is an answer.
MAKERS: dict[str, Callable[[int], Sampler]] = {
    "g-search": lambda q: g_search(q, method="bisection"),
    "g-search with screens": lambda q: g_search(q, screens=(1, 3), guess=(8, 8, 5, 5, 1)),
    "g-search with slack": lambda q: g_search(q, screens=(2,), slack=0.3),
    "g-search that allows for chance": lambda q: g_search(q, spread=True, noise=1.0),
    "random": lambda q: budgeted(RandomSearch, Sigmoid(), 6, q),
    "random-monotone": lambda q: budgeted(RandomMonotone, Layerwise(), 6, q),
    "optuna": lambda q: budgeted(OptunaSampler, Staircase(), 5, q),
    "bayes": lambda q: budgeted(Bayes, Linear(), 5, q),
    "frontier": lambda q: budgeted(Frontier, Uniform(), 5, q, FLOPS),
    "additive": lambda q: additive(q, budget=MEAN_KEEP),
    "additive to a drop": lambda q: additive(q, max_drop=0.25),
    "auto": lambda q: auto(q, screens=(2,)),
}


def g_search(questions: int, **settings: Any) -> GSearch:
    return GSearch(
        layers=LAYERS,
        n_max=N_MAX,
        ranker=RANKER,
        acceptance="drop",
        tolerance=0.25,
        concurrent_trials=questions,
        max_passes=3,
        on_failure="continue",
        **settings,
    )


def budgeted(
    sampler: type[Budgeted],
    family: Family,
    trials: int,
    questions: int,
    budget: Budget = MEAN_KEEP,
) -> Sampler:
    return sampler(
        family=family,
        budget=budget,
        shape=SHAPE,
        tokens=TOKENS,
        ranker=RANKER,
        trials=trials,
        concurrent_trials=questions,
    )


def additive(questions: int, **goal: Any) -> Additive:
    return Additive(
        cuts=SingleCuts(2, (0.0, 0.5), ((1.0, 0.6), (0.7, 0.2), (0.1, 0.0))),
        shape=SHAPE,
        tokens=TOKENS,
        ranker=RANKER,
        trials=5,
        concurrent_trials=questions,
        **goal,
    )


def auto(questions: int, **settings: Any) -> Auto:
    return Auto(
        layers=LAYERS,
        n_max=N_MAX,
        ranker=RANKER,
        tolerance=0.25,
        shape=SHAPE,
        tokens=TOKENS,
        trials=2,
        concurrent_trials=questions,
        on_failure="continue",
        **settings,
    )


def by_settings(name: str, questions: int) -> Sampler:
    """The sampler that settings of this name make, with what else they take of the usual keys."""
    usual = {"budget": {"mean_keep": 0.7}, "tolerance": 0.25, "max_drop": 0.25}
    usual |= {"trials": 5, "on_failure": "continue"}
    made = SAMPLERS[name]
    taken = {key: value for key, value in usual.items() if key in made.model_fields}
    settings = made.model_validate({"sampler": name, "concurrent_trials": questions, **taken})
    return settings.make(Facts.of(SHAPE, TOKENS), RANKER, seed=0)


MAKERS |= {name: partial(by_settings, name) for name in SAMPLERS if name not in MAKERS}

FAST = [make for name, make in MAKERS.items() if name != "auto"]  # whose parts are here as well
each_sampler = pytest.mark.parametrize("make", some(MAKERS.values(), FAST), ids=MAKERS)
at_once = st.integers(1, 4)
seeds = st.integers(0, 10**6)


def differences(seed: int, schedule: Schedule) -> list[float]:
    """Losses of samples with needs of their own, and noise that belongs to the schedule."""
    rng = random.Random(seed)
    rows = [
        (0, 0, *sorted(rng.choices(range(N_MAX + 1), k=LAYERS - 2), reverse=True)) for _ in range(6)
    ]
    counts = schedule.counts(N_MAX)
    if min(counts) == N_MAX:
        return [0.0] * 6
    noise = random.Random(f"{seed} {counts}")
    return [loss + noise.choice([-0.5, 0.0, 0.5]) for loss in per_sample(rows)(counts)]


def answer(
    sampler: Sampler, history: Sequence[Trial], seed: int, trial: Trial, may_fail: bool = False
) -> Trial:
    question = Question(trial.params, trial.schedule, trial.samples)
    fails = may_fail and min(trial.schedule.keep) < 1 and random.Random(trial.number).random() < 0.2
    if fails:
        return failed(trial.number, question)
    losses = differences(seed, trial.schedule)
    return answered(sampler, history, trial.number, question, losses, least=-0.5)


def synchronous(sampler: Sampler, seed: int, history: tuple[Trial, ...] = ()) -> tuple[Trial, ...]:
    """Answer every question before the next is asked, up to the end."""
    while questions := sampler.ask(history):
        opened = [running(len(history) + i, question) for i, question in enumerate(questions)]
        history += tuple(answer(sampler, history, seed, trial) for trial in opened)
    assert sampler.finished(history)
    return history


def identity(trial: Trial | Question) -> tuple:
    return evaluation(trial), trial.samples


def evaluation(trial: Trial | Question) -> tuple:
    return trial.schedule.counts(N_MAX), trial.schedule.ranker


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_same_history_gives_the_same_questions_to_any_instance(make, seed, questions):
    sampler = make(questions)
    history = synchronous(sampler, seed)
    for n in range(len(history) + 1):
        known = history[:n]
        assert sampler.ask(known) == sampler.ask(known) == make(questions).ask(known)


@each_sampler
@examples(12)
@given(seeds, at_once)
def test_search_is_over_exactly_where_nothing_is_asked(make, seed, questions):
    sampler = make(questions)
    history = synchronous(sampler, seed)
    for n in range(len(history) + 1):
        assert sampler.finished(history[:n]) == (not sampler.ask(history[:n]))


@each_sampler
@examples(12)
@given(seeds, at_once)
def test_order_of_the_rows_means_nothing(make, seed, questions):
    sampler, rng = make(questions), random.Random(seed)
    history = synchronous(sampler, seed)
    for n in range(len(history) + 1):
        known = history[:n]
        shuffled = rng.sample(known, n)
        assert sampler.ask(shuffled) == sampler.ask(known)
        assert sampler.best(shuffled) == sampler.best(known)
        assert sampler.status(shuffled) == sampler.status(known)
        assert sampler.finished(shuffled) == sampler.finished(known)


@each_sampler
@examples(6)  # each runs the search once per prefix
@given(seeds, at_once)
def test_search_continues_from_any_prefix_with_the_same_questions(make, seed, questions):
    history = synchronous(make(questions), seed)
    for n in range(len(history)):
        assert synchronous(make(questions), seed, history[:n]) == history


@each_sampler
@examples(40)
@given(seeds, at_once, st.booleans())
def test_running_trials_count_and_nothing_is_asked_twice(make, seed, questions, may_fail):
    # Workers take and finish trials in any order; the sampler is asked after every step.
    sampler, rng = make(questions), random.Random(seed)
    history: list[Trial] = []
    while not sampler.finished(history):
        open_trials = [i for i, trial in enumerate(history) if not trial.state.finished]
        new = sampler.ask(history)
        assert len(open_trials) + len(new) <= questions
        asked = [*map(identity, history), *map(identity, new)]
        assert len(set(asked)) == len(asked)
        assert new or open_trials, "the search hangs"
        for question in new:
            open_trials.append(len(history))
            state = rng.choice([TrialState.WAITING, TrialState.RUNNING])
            history.append(replace(running(len(history), question), state=state))
        done = rng.choice(open_trials)
        history[done] = answer(sampler, history, seed, history[done], may_fail)
        best = sampler.best(history)
        assert best is None or (best in history and best.state is TrialState.COMPLETE)
    assert sampler.ask(history) == []
    assert sampler.best(history) is not None


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_questions_are_asked_for_the_right_model_and_ranker(make, seed, questions):
    for trial in synchronous(make(questions), seed):
        assert trial.schedule.layers == LAYERS
        assert trial.schedule.ranker == RANKER
        assert trial.params


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_schedules_that_a_person_enqueued_are_never_asked_again(make, seed, questions):
    sampler = make(questions)
    some = synchronous(sampler, seed)[::2]
    odd = [
        Schedule((1.0, 1.0, 0.61, 0.13, 0.13), RANKER),  # not on the grid
        Schedule((1.0, 0.5, 0.5, 0.5, 0.5), RANKER),  # lower than a search goes
        Schedule.full(LAYERS, RankerSpec("random")),
    ]
    schedules = [trial.schedule for trial in some] + odd
    history = tuple(
        enqueued(number, schedule, differences(seed, schedule))
        for number, schedule in enumerate(schedules)
    )

    asked = synchronous(sampler, seed, history)[len(history) :]

    assert not {evaluation(trial) for trial in asked} & {evaluation(trial) for trial in history}


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_status_counts_the_questions(make, seed, questions):
    sampler = make(questions)
    history = synchronous(sampler, seed)
    for n in range(len(history) + 1):
        status = sampler.status(history[:n])
        assert status.asked == n
        assert status.phase
        assert status.rounds_left is None or status.rounds_left >= 0


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_best_has_answered_on_all_samples(make, seed, questions):
    sampler = make(questions)
    history = synchronous(sampler, seed)
    for n in range(1, len(history) + 1):
        best = sampler.best(history[:n])
        assert best is not None
        assert best.samples is None
        assert best.measurement.n == 6


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_what_a_sampler_calls_hopeless_stays_so_with_a_greater_loss(make, seed, questions):
    sampler = make(questions)
    history = synchronous(sampler, seed)
    for trial in history:
        drops = [drop / 8 for drop in range(-8, 9)]
        calls = [sampler.hopeless(history, trial, drop) for drop in drops]
        assert calls == sorted(calls)
        assert not calls[0]


@each_sampler
@examples(20)
@given(seeds, at_once)
def test_what_a_person_enqueued_is_measured_to_its_end(make, seed, questions):
    sampler = make(questions)
    for trial in synchronous(sampler, seed):
        own = enqueued(trial.number, trial.schedule, differences(seed, trial.schedule))
        assert not sampler.hopeless([], own, math.inf)


@each_sampler
def test_nothing_is_the_best_before_the_first_answer(make):
    sampler = make(1)
    assert sampler.best([]) is None
    assert sampler.best([running(0, sampler.ask([])[0])]) is None
