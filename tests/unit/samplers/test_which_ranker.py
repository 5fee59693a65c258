"""Several rankers: the best is found on few samples, and its search is the one without others."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.facts import Facts
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.family_settings import RandomSettings
from schedsearch.samplers.sampler import Question, Sampler
from schedsearch.samplers.settings import GSearchSettings
from schedsearch.samplers.which_ranker import WhichRanker
from tests.pace import examples
from tests.unit.samplers.synthetic import complete, failed, running

LAYERS, N_MAX, SAMPLES = 6, 12, 320
SHAPE, TOKENS = DecoderShape(LAYERS, 8, 2, 2, 4, 16, 32), (SampleTokens(N_MAX, 4),) * SAMPLES
FACTS = Facts.of(SHAPE, TOKENS)
RANKERS = tuple(map(RankerSpec, ("last", "text", "local", "diverse", "uniform")))

Drops = Callable[[RankerSpec, Schedule], Sequence[float]]
"""What each sample loses."""


def made(rankers: Sequence[RankerSpec] = RANKERS, **settings: object) -> WhichRanker:
    search = GSearchSettings.model_validate({"tolerance": 0.05, "screens": [], **settings})
    searches = tuple(search.make(FACTS, ranker, 0) for ranker in rankers)
    return WhichRanker(facts=FACTS, rankers=tuple(rankers), searches=searches)


def steady(needs: dict[RankerSpec, float]) -> Drops:
    """Every sample loses what the layers lack of the ranker's need, so that any sample tells."""

    def drops(ranker: RankerSpec, schedule: Schedule) -> list[float]:
        return [sum(max(0.0, needs[ranker] - keep) for keep in schedule.keep) / LAYERS] * SAMPLES

    return drops


def noisy(needs: dict[RankerSpec, float], disagree: float, seed: int) -> Drops:
    """Answers that are lost with that probability; a share of all changes at random besides."""

    def drops(ranker: RankerSpec, schedule: Schedule) -> list[float]:
        rng = random.Random(f"{seed} {ranker.name} {schedule.keep}")
        lost = steady(needs)(ranker, schedule)[0]
        found = []
        for _ in range(SAMPLES):
            change = rng.choice([-1.0, 1.0]) if rng.random() < disagree else 0.0
            found.append(1.0 if rng.random() < lost else change)
        return found

    return drops


def answer(number: int, question: Question, drops: Drops) -> Trial:
    """What becomes of a question where every sample has been asked that it names."""
    losses = drops(question.schedule.ranker, question.schedule)
    if question.samples is None:
        return complete(number, question, losses)
    read = losses[: question.samples]
    screened = replace(running(number, question), state=TrialState.SCREENED, reason="part")
    return replace(screened, read=len(read), expected=math.fsum(read) / len(read))


def searched(sampler: Sampler, drops: Drops, history: Sequence[Trial] = ()) -> list[Trial]:
    trials = list(history)
    while questions := sampler.ask(trials):
        trials += [answer(n, one, drops) for n, one in enumerate(questions, len(trials))]
    assert sampler.finished(trials)
    return trials


def compared(sampler: WhichRanker, drops: Drops) -> RankerSpec | None:
    """The ranker that is found; nothing is searched."""
    trials: list[Trial] = []
    while sampler.chosen(trials) is None:
        trials += [answer(n, one, drops) for n, one in enumerate(sampler.ask(trials), len(trials))]
    return sampler.chosen(trials)


def phase(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if "round" in trial.params]


levels = st.lists(st.integers(1, 10), min_size=2, max_size=5, unique=True)


@examples(40)
@given(levels, st.integers(1, 4))
def test_ranker_that_loses_least_is_found_where_every_sample_tells(found, at_once):
    rankers = RANKERS[: len(found)]
    needs = {ranker: 0.5 + level / 20 for ranker, level in zip(rankers, found, strict=True)}
    sampler = made(rankers, concurrent_trials=at_once)
    trials = searched(sampler, steady(needs))
    best = min(rankers, key=lambda ranker: needs[ranker])
    assert sampler.chosen(trials) == best
    result = sampler.best(trials)
    assert result is not None and result.schedule.ranker == best


def test_ranker_is_found_among_samples_that_disagree_at_random():
    # At least 60 answers to each ranker. One that loses .02 of them stays behind one that loses .2
    # or more with probability below 1e-3, tenths that change at random included.
    needs = dict.fromkeys(RANKERS, 0.85) | {RANKERS[3]: 0.4}
    for seed in range(20):
        assert compared(made(), noisy(needs, 0.1, seed)) == RANKERS[3]


def test_search_is_the_one_that_the_ranker_has_alone():
    drops = noisy(dict.fromkeys(RANKERS, 0.8) | {RANKERS[2]: 0.5}, 0.02, seed=1)
    trials = searched(made(), drops)
    alone = searched(made().searches[2], drops)
    asked = [(trial.params, trial.schedule) for trial in trials[len(phase(trials)) :]]
    assert asked == [(trial.params, trial.schedule) for trial in alone]


def test_rankers_halve_while_their_samples_double():
    trials = searched(made(), steady({ranker: 0.6 for ranker in RANKERS}))
    rounds = [[one for one in phase(trials) if one.params["round"] == n] for n in (1, 2, 3)]
    assert [len(one) for one in rounds] == [15, 9, 6]
    assert [{one.samples for one in found} for found in rounds] == [{20}, {40}, {80}]
    for found in rounds:  # all on the same schedules
        assert len({one.schedule.keep for one in found}) == 3


@pytest.mark.parametrize("several", [2, 3, 4, 5, 8])
def test_rounds_read_as_many_samples_as_they_are_said_to(several):
    rankers = [RankerSpec.from_mapping("random", {"seed": seed}) for seed in range(several)]
    trials = phase(searched(made(rankers), steady(dict.fromkeys(rankers, 0.6))))
    passes = sum(trial.samples for trial in trials) / SAMPLES
    power_of_2 = several & (several - 1) == 0
    each = 3 * several / 16
    rounds = math.ceil(math.log2(several))
    assert passes == rounds * each if power_of_2 else rounds * each < passes < 2 * rounds * each
    assert all(flops_ratio(SHAPE, trial.schedule, TOKENS) < 0.75 for trial in trials)


def test_equal_rankers_are_told_apart_by_their_order():
    sampler = made()
    trials = searched(sampler, steady(dict.fromkeys(RANKERS, 0.6)))
    assert sampler.chosen(trials) == RANKERS[0]


@examples(12)  # each runs the search once per prefix
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_whatever_is_known_the_next_questions_are_the_same(seed, at_once):
    rng = random.Random(seed)
    drops = noisy({ranker: rng.uniform(0.3, 0.9) for ranker in RANKERS}, 0.05, seed)
    sampler = made(concurrent_trials=at_once)
    trials = searched(sampler, drops)
    for n in range(0, len(trials), 9):
        known = trials[:n]
        assert searched(made(concurrent_trials=at_once), drops, known) == trials
        shuffled = rng.sample(known, n)
        assert sampler.ask(shuffled) == sampler.ask(known)
        assert sampler.status(shuffled) == sampler.status(known)
        assert sampler.rungs(shuffled) == sampler.rungs(known)
        assert sampler.status(known).asked == n
        assert not sampler.finished(known)


def test_no_more_is_open_than_may_be_and_nothing_is_asked_twice():
    sampler, drops = made(concurrent_trials=4), steady(dict.fromkeys(RANKERS, 0.6))
    history: list[Trial] = []
    rng = random.Random(0)
    while sampler.chosen(history) is None:
        new = sampler.ask(history)
        history += [running(n, question) for n, question in enumerate(new, len(history))]
        opened = [trial.number for trial in history if not trial.state.finished]
        assert 0 < len(opened) <= 4
        place = rng.choice(opened)
        trial = history[place]
        question = Question(trial.params, trial.schedule, trial.samples)
        history[place] = answer(place, question, drops)
    asked = [(trial.schedule, trial.samples) for trial in history]
    assert len(asked) == len(set(map(str, asked)))


def test_trials_of_the_rounds_are_read_out_and_those_of_the_search_are_not():
    sampler, drops = made(), steady(dict.fromkeys(RANKERS, 0.6))
    (first,) = sampler.ask([])
    assert not sampler.hopeless([], running(0, first), math.inf)
    trials = searched(sampler, drops)
    own = next(one for one in trials if "layer" in one.params and min(one.schedule.keep) < 1)
    assert sampler.hopeless(trials, own, math.inf)


def test_ranker_that_fails_counts_as_the_worst_unless_failures_stop():
    needs = dict.fromkeys(RANKERS, 0.9) | {RANKERS[0]: 0.3}

    def until_the_end(sampler: WhichRanker) -> list[Trial]:
        trials: list[Trial] = []
        while sampler.chosen(trials) is None:
            for one in sampler.ask(trials):
                fails = one.schedule.ranker == RANKERS[0] and len(trials) < 60
                kind = failed if fails else lambda n, q: answer(n, q, steady(needs))
                trials.append(kind(len(trials), one))
        return trials

    sampler = made(on_failure="continue")
    trials = until_the_end(sampler)
    assert sampler.chosen(trials) == RANKERS[1]
    assert sampler.rungs(trials)[0].drops[RANKERS[0]] == math.inf

    stopping = made(on_failure="stop")
    trials = until_the_end(stopping)  # the same question again, until it is answered
    assert stopping.chosen(trials) == RANKERS[0]


def test_search_that_cannot_begin_is_refused_before_rankers_compete():
    settings = {"sampler": "random", "family": "uniform", "budget": {"flops": 0.01}}
    search = RandomSettings.model_validate(settings)
    searches = tuple(search.make(FACTS, ranker, 0) for ranker in RANKERS)
    with pytest.raises(InputError, match="budget"):
        WhichRanker(facts=FACTS, rankers=RANKERS, searches=searches).ask([])


def test_before_a_ranker_is_found_there_is_no_result():
    sampler = made()
    assert sampler.best([]) is None
    assert sampler.search([]) == sampler.searches[0]
    assert sampler.status([]).phase == "rankers, round 1"
    assert sampler.name == "g-search"
