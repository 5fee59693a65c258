"""G-Search that asks the first samples before it asks them all."""

import dataclasses
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.acceptance import Acceptance
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.nesting import Nesting
from schedsearch.samplers.sampler import Question
from tests.unit.samplers.synthetic import (
    Counts,
    Differences,
    answered,
    complete,
    enqueued,
    failed,
    measurement,
    per_sample,
    running,
    search,
)

METHODS = ("gallop", "bisection", "scan")


@st.composite
def searches(draw: st.DrawFn) -> tuple[GSearch, int]:
    """A search with screens, and the number of its samples."""
    first, n_max, n = draw(st.integers(0, 2)), draw(st.integers(1, 20)), draw(st.integers(2, 12))
    layers = first + draw(st.integers(1, 5))
    sampler = GSearch(
        layers=layers,
        n_max=n_max,
        first=first,
        acceptance=draw(st.sampled_from(["drop", "confident"])),
        tolerance=draw(st.sampled_from([0.0, 0.1, 0.3, 0.6])),
        method=draw(st.sampled_from(METHODS)),
        concurrent_trials=draw(st.integers(1, 4)),
        floor=draw(st.integers(0, n_max)),
        screens=tuple(sorted(draw(st.sets(st.integers(1, n - 1), max_size=3)))),
        guess=draw(st.just(()) | st.tuples(*[st.integers(0, n_max)] * layers)),
    )
    return sampler, n


def rows(sampler: GSearch, n: int) -> st.SearchStrategy[list[Counts]]:
    head = st.just((0,) * sampler.first)
    tail = st.tuples(*[st.integers(0, sampler.n_max)] * (sampler.layers - sampler.first))
    return st.lists(st.tuples(head, tail).map(lambda two: two[0] + two[1]), min_size=n, max_size=n)


def noise(seed: int, n: int, n_max: int, share: float) -> Differences:
    """Losses that more tokens need not lower: every schedule tosses its own coins."""

    def losses(counts: Counts) -> list[float]:
        if min(counts) == n_max:
            return [0.0] * n
        rng = random.Random(f"{seed} {counts}")
        return [float(rng.random() < share) for _ in range(n)]

    return losses


few = st.integers(0, 3)


def found(sampler: GSearch, history: list[Trial]) -> Counts:
    best = sampler.best(history)
    assert best.samples is None
    return best.schedule.counts(sampler.n_max)


def plain(sampler: GSearch) -> GSearch:
    return dataclasses.replace(
        sampler, method="bisection", screens=(), guess=(), concurrent_trials=1
    )


@given(st.data(), searches(), few)
def test_where_more_is_never_worse_screens_and_guess_change_nothing_but_the_cost(
    data, case, probes
):
    sampler, n = case
    differences = per_sample(data.draw(rows(sampler, n)))
    reference, _ = search(plain(sampler), sampler.n_max, differences)

    history, _ = search(sampler, sampler.n_max, differences, stops=True, probes=probes)

    assert found(sampler, history) == found(plain(sampler), reference)


@given(searches(), st.integers(0, 10**6), st.floats(0, 0.5), st.integers(1, 3), few)
def test_without_nesting_the_result_is_accepted_and_the_count_below_it_is_not(
    case, seed, share, max_passes, probes
):
    sampler, n = case
    sampler = dataclasses.replace(sampler, max_passes=max_passes)
    differences = noise(seed, n, sampler.n_max, share)
    rule = Acceptance(sampler.acceptance, sampler.tolerance)

    history, _ = search(sampler, sampler.n_max, differences, stops=True, probes=probes)

    counts = found(sampler, history)
    assert rule.accepts(measurement(differences(counts)))
    for layer in range(sampler.first, sampler.layers):
        if max_passes == 1 and counts[layer] > sampler.floor:
            below = counts[:layer] + (counts[layer] - 1,) * (sampler.layers - layer)
            assert not rule.accepts(measurement(differences(below)))


@given(searches(), st.integers(0, 10**6), st.floats(0, 0.5), few)
def test_nothing_is_asked_again_on_as_many_samples_or_fewer(case, seed, share, probes):
    sampler, n = case
    losses = noise(seed, n, sampler.n_max, share)
    history, _ = search(sampler, sampler.n_max, losses, stops=True, probes=probes)
    for counts, trials in itertools.groupby(
        sorted(history, key=lambda t: (t.schedule.counts(sampler.n_max), t.number)),
        key=lambda t: t.schedule.counts(sampler.n_max),
    ):
        *others, last = trials
        assert all(trial.state is TrialState.SCREENED for trial in others), counts
        sizes = [trial.samples or n for trial in (*others, last)]
        assert sizes == sorted(set(sizes))


@given(st.data(), searches())
def test_what_a_person_has_tried_besides_changes_nothing_but_the_cost(data, case):
    sampler, n = case
    differences = per_sample(data.draw(rows(sampler, n)))
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    head = (sampler.n_max,) * sampler.first
    free = sampler.layers - sampler.first
    besides = [
        (*head, *sorted(rng.choices(range(sampler.n_max + 1), k=free), reverse=True))
        for _ in range(6)
    ]
    known = [
        enqueued(number, Schedule.from_counts(counts, sampler.n_max), differences(counts))
        for number, counts in enumerate(besides)
    ]

    expected, _ = search(sampler, sampler.n_max, differences, stops=True)
    history, _ = search(sampler, sampler.n_max, differences, known, stops=True)

    assert found(sampler, history) == found(sampler, expected)
    asked = {trial.schedule.counts(sampler.n_max) for trial in history[len(known) :]}
    assert not asked & set(besides), "all samples have answered"


# Four samples, of which the last needs most: what the first two leave undecided from 3 tokens on,
# all reject below 6.
LATE = per_sample([(8, 8, 1, 1), (8, 8, 3, 3), (8, 8, 2, 2), (8, 8, 6, 3)])
SCREENED = GSearch(layers=4, n_max=8, screens=(2,), method="bisection")


def steps(history: list[Trial]) -> list[tuple]:
    names = ("layer", "count", "samples")
    return [
        (*(trial.params.get(name) for name in names), trial.state is not TrialState.PRUNED)
        for trial in history
    ]


def test_bisection_settles_a_layer_on_the_screen_and_moves_up_on_all_samples():
    history, _ = search(SCREENED, 8, LATE, stops=True)
    assert steps(history) == [
        (2, 8, None, True),
        (2, 3, 2, True),
        (2, 1, 2, False),
        (2, 2, 2, False),
        (2, 5, None, False),
        (2, 6, None, True),
        (3, 1, 2, False),
        (3, 2, 2, False),
        (3, 5, None, True),
        (3, 3, None, True),
    ]


def test_gallop_asks_at_the_guess_and_moves_away_from_it_in_steps_that_double():
    def asked(need: int, guess: int) -> list[int]:
        sampler = GSearch(layers=1, n_max=100, first=0, guess=(guess,))
        history, _ = search(sampler, 100, per_sample([(need,)] * 2))
        return [trial.params["count"] for trial in history[1:]]

    assert asked(40, 40) == [40, 39]
    assert asked(47, 40) == [40, 41, 43, 47, 45, 46]
    assert asked(30, 40) == [40, 39, 37, 33, 25, 29, 31, 30]
    assert asked(100, 100) == [99]


def test_plateau_costs_one_question_a_layer():
    sampler = GSearch(layers=9, n_max=64, first=0)
    history, _ = search(sampler, 64, per_sample([(20,) * 9] * 2))
    first = sum(trial.params["layer"] == 0 for trial in history)
    assert [trial.params["count"] for trial in history[first:]] == [19] * 8


def test_falling_guess_carries_the_error_of_the_layer_above_along():
    # Found is above the guess at layer 0: layer 1 is expected as much above its own.
    sampler = GSearch(layers=2, n_max=100, first=0, guess=(30, 15))
    history, _ = search(sampler, 100, per_sample([(34, 17)] * 2))
    assert [t.params["count"] for t in history if t.params["layer"] == 1] == [17, 16]


def test_guess_that_costs_more_than_halving_is_not_followed_further():
    galloping = GSearch(layers=2, n_max=100, first=0, guess=(30, 15))
    halving = dataclasses.replace(galloping, method="bisection", guess=())

    def second(sampler: GSearch) -> list[int]:
        history, _ = search(sampler, 100, per_sample([(60, 30)] * 2))
        return [t.params["count"] for t in history if t.params["layer"] == 1]

    still_there, *rest = second(galloping)
    assert still_there == 59
    assert rest == second(halving)


def test_question_says_how_many_samples_it_asks():
    keep_all = complete(0, *SCREENED.ask([]), [0.0] * 4)
    (question,) = SCREENED.ask([keep_all])
    assert SCREENED.ask([])[0].samples is None
    assert "samples" not in keep_all.params
    assert question.samples == question.params["samples"] == 2


def test_undecided_schedule_is_neither_a_result_nor_a_case_for_nesting():
    history = [complete(0, *SCREENED.ask([]), [0.0] * 4)]
    (question,) = SCREENED.ask(history)
    undecided = answered(SCREENED, history, 1, question, [0.0] * 4)
    assert undecided.state is TrialState.SCREENED
    assert SCREENED.best([*history, undecided]) == history[0]
    assert SCREENED.nesting([*history, undecided]) == Nesting(0, 0)


def test_pruned_schedule_counts_as_rejected_for_nesting():
    history = [complete(0, *SCREENED.ask([]), [0.0] * 4)]
    (question,) = SCREENED.ask(history)
    pruned = answered(SCREENED, history, 1, question, [1.0] * 4)
    assert pruned.state is TrialState.PRUNED
    below = Schedule.from_counts((8, 8, 3, 0), 8)
    accepted = enqueued(2, below, [0.0] * 4)
    assert SCREENED.nesting([*history, pruned]) == Nesting(0, 1)
    assert SCREENED.nesting([*history, pruned, accepted]) == Nesting(1, 3)


def test_undecided_answer_stands_when_all_samples_reject_later():
    # Each prefix of the history leads on to the very next question.
    history, _ = search(SCREENED, 8, LATE, stops=True)
    for n, trial in enumerate(history):
        (question,) = SCREENED.ask(history[:n])
        assert (question.params, question.samples) == (trial.params, trial.samples)


@pytest.mark.parametrize("samples", [1, 2, 3, None])
def test_larger_trial_answers_for_a_screen_and_a_smaller_one_does_not(samples):
    history = [complete(0, *SCREENED.ask([]), [0.0] * 4)]
    (question,) = SCREENED.ask(history)
    other = dataclasses.replace(question, samples=samples)
    for trial in (answered(SCREENED, history, 1, other, [0.0] * 4), running(1, other)):
        asked = SCREENED.ask([*history, trial])
        assert (question in asked) is (samples == 1)


@pytest.mark.parametrize("samples", [1, 2, 3, None])
def test_failure_on_some_samples_is_an_answer_for_no_fewer(samples):
    go_on = dataclasses.replace(SCREENED, on_failure="continue")
    history = [complete(0, *go_on.ask([]), [0.0] * 4)]
    (question,) = go_on.ask(history)
    failure = failed(1, dataclasses.replace(question, samples=samples))
    assert (question in go_on.ask([*history, failure])) is (samples in (3, None))
    assert SCREENED.ask([*history, failure]) == [question]


@given(searches(), st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=12))
def test_hopeless_trial_would_be_rejected_on_all_samples(case, losses):
    sampler, _ = case
    rule = Acceptance(sampler.acceptance, sampler.tolerance)
    nothing = Schedule.from_counts((0,) * sampler.layers, sampler.n_max)
    trial = complete(1, Question({"pass": 1}, nothing), losses)
    for known in range(len(losses) + 1):
        if sampler.hopeless([], trial, sum(losses[:known]) / len(losses)):
            assert not rule.accepts(trial.measurement)


def test_trial_is_hopeless_beyond_the_tolerance_and_keep_all_never():
    sampler = dataclasses.replace(SCREENED, tolerance=0.25)
    question = Question({"pass": 1}, Schedule.from_counts((8, 8, 3, 3), 8))
    assert not sampler.hopeless([], running(1, question), 0.25)
    assert sampler.hopeless([], running(1, question), 0.2500001)
    assert not sampler.hopeless([], running(0, *sampler.ask([])), 1.0)


def test_what_a_person_has_enqueued_is_measured_to_its_end():
    trial = running(1, Question({}, Schedule.from_counts((8, 8, 3, 3), 8)))
    assert not SCREENED.hopeless([], trial, 1.0)
