"""G-Search where neighbouring layers may share a count."""

import random

from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.trial import Trial
from schedsearch.samplers.acceptance import Acceptance
from schedsearch.samplers.greedy import GSearch
from tests.unit.samplers.synthetic import Counts, measurement, per_sample, search


@st.composite
def searches(draw: st.DrawFn) -> GSearch:
    first, n_max = draw(st.integers(0, 2)), draw(st.integers(1, 40))
    return GSearch(
        layers=first + draw(st.integers(1, 12)),
        n_max=n_max,
        first=first,
        method=draw(st.sampled_from(["gallop", "bisection", "scan"])),
        concurrent_trials=draw(st.integers(1, 3)),
        floor=draw(st.integers(0, n_max)),
        screens=draw(st.sampled_from([(), (1,), (2, 3)])),
        slack=draw(st.sampled_from([0.001, 0.1, 0.3, 0.5, 0.9])),
        max_passes=draw(st.integers(1, 2)),
    )


def found(sampler: GSearch, history: list[Trial]) -> Counts:
    return sampler.best(history).schedule.counts(sampler.n_max)


@given(st.data(), searches())
def test_no_layer_keeps_more_than_its_need_over_what_slack_leaves(data, sampler):
    free = sampler.layers - sampler.first
    tail = data.draw(st.tuples(*[st.integers(0, sampler.n_max)] * free))
    need = (0,) * sampler.first + tail

    history, _ = search(sampler, sampler.n_max, per_sample([need] * 5), stops=True)

    for layer, count in enumerate(found(sampler, history)):
        if layer >= sampler.first:
            least = max(sampler.floor, *need[layer:])  # counts never grow with depth
            assert least <= count <= least / (1 - sampler.slack) + 1e-9


@given(searches(), st.integers(0, 10**6), st.floats(0, 0.5))
def test_result_is_accepted_without_nesting_too(sampler, seed, share):
    def losses(counts: Counts) -> list[float]:
        rng = random.Random(f"{seed} {counts}")
        lost = [float(rng.random() < share) for _ in range(5)]
        return [0.0] * 5 if min(counts) == sampler.n_max else lost

    history, _ = search(sampler, sampler.n_max, losses, stops=True)

    counts = found(sampler, history)
    assert Acceptance().accepts(measurement(losses(counts)))
    assert min(counts) >= sampler.floor


def test_depth_is_halved_for_the_first_layer_that_is_worth_a_count_of_its_own():
    sampler = GSearch(layers=16, n_max=8, first=0, slack=0.5, method="bisection", floor=1)
    history, _ = search(sampler, 8, per_sample([(8,) * 10 + (3,) * 6] * 2))
    asked = [(trial.params["layer"], trial.params["count"]) for trial in history[1:]]
    assert asked == [
        *[(0, 4), (0, 6), (0, 7)],  # layer 0 needs 8
        *[(8, 4), (12, 4), (10, 4), (9, 4)],  # half of them is enough from layer 10 on
        *[(10, 2), (10, 3)],  # which needs 3
        *[(13, 1), (14, 1), (15, 1)],  # and nobody after it needs less
    ]
    assert found(sampler, history) == (8,) * 10 + (3,) * 6


def test_layers_that_fall_by_no_more_than_the_slack_share_a_count():
    sampler = GSearch(layers=5, n_max=100, first=0, slack=0.2)
    need = (100, 90, 81, 80, 60)
    history, _ = search(sampler, 100, per_sample([need] * 2))
    assert found(sampler, history) == (100, 100, 100, 80, 60)


def test_questions_grow_with_the_logarithm_of_the_depth():
    def questions(layers: int) -> int:
        sampler = GSearch(layers=layers, n_max=64, first=0, slack=0.5)
        need = (64,) * (layers // 4) + (16,) * (layers // 2) + (4,) * (layers // 4)
        return len(search(sampler, 64, per_sample([need] * 2))[0])

    # To three lines over depth, doubling the depth adds a question each.
    assert questions(512) - questions(8) <= 3 * 6 + 3


def test_later_passes_lower_what_slack_has_left():
    need = (100, 90, 81, 80, 60)
    sampler = GSearch(layers=5, n_max=100, first=0, slack=0.2, max_passes=2)
    history, _ = search(sampler, 100, per_sample([need] * 2))
    assert found(sampler, history) == need


def test_line_over_depth_has_no_bracket_of_counts():
    sampler = GSearch(layers=8, n_max=8, first=0, slack=0.5)
    history, _ = search(sampler, 8, per_sample([(8,) * 4 + (2,) * 4] * 2))
    for n, trial in enumerate(history):
        status = sampler.status(history[:n])
        if status.bracket and n:
            low, high = status.bracket
            assert low <= trial.params["count"] < high
    depth = [n for n in range(1, len(history)) if sampler.status(history[:n]).bracket is None]
    assert {history[n].params["layer"] for n in depth} > {4}
