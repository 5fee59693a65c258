import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.samplers.greedy import GSearch
from tests.unit.samplers.synthetic import (
    Counts,
    all_or_nothing,
    arbitrary,
    per_sample,
    search,
)

RULES = ("drop", "confident")
METHODS = ("gallop", "bisection", "scan")


@st.composite
def settings_of_a_search(draw: st.DrawFn) -> dict:
    first, n_max = draw(st.integers(0, 2)), draw(st.integers(1, 6))
    return {
        "layers": first + draw(st.integers(1, 6)),
        "n_max": n_max,
        "first": first,
        "ranker": draw(st.sampled_from([RankerSpec(), RankerSpec("random", (("seed", 3),))])),
        "method": draw(st.sampled_from(METHODS)),
        "concurrent_trials": draw(st.integers(1, 4)),
        "floor": draw(st.integers(0, n_max)),
    }


def needs(settings: dict) -> st.SearchStrategy[Counts]:
    return st.tuples(*[st.integers(0, settings["n_max"])] * settings["layers"])


def every_schedule(settings: dict) -> Iterator[Counts]:
    """All non-increasing counts on the grid with full layers before `first`."""
    grid = range(settings["n_max"], settings["floor"] - 1, -1)
    head = (settings["n_max"],) * settings["first"]
    for tail in itertools.combinations_with_replacement(grid, settings["layers"] - len(head)):
        yield head + tail


@cache
def loss(rule: str, failures: int, n: int) -> float:
    """What the rule compares when `failures` of n samples lose their point, by scipy."""
    if rule == "drop" or failures in (0, n):
        return failures / n
    candidate = np.arange(n) >= failures
    test = stats.ttest_rel(np.ones(n), candidate, alternative="less")
    return float(test.confidence_interval(0.95).high)


def result(sampler: GSearch, differences: Callable) -> tuple[Counts, dict[Counts, bool]]:
    """Return the counts found, and every question with its answer."""
    history, _ = search(sampler, sampler.n_max, differences)
    best = sampler.best(history)
    assert best in history
    answers = {
        trial.schedule.counts(sampler.n_max): trial.measurement.drop == 0 for trial in history
    }
    assert len(answers) == len(history), "a question was repeated"
    return best.schedule.counts(sampler.n_max), answers


@given(st.data(), settings_of_a_search(), st.sampled_from(RULES))
def test_under_nesting_the_result_is_that_of_brute_force(data, settings, rule):
    need = data.draw(needs(settings))

    def accepted(counts: Counts) -> bool:
        free = slice(settings["first"], None)
        return all(c >= n for c, n in zip(counts[free], need[free], strict=True))

    sampler = GSearch(**settings, acceptance=rule, tolerance=data.draw(st.floats(0, 0.9)))
    found, _ = result(sampler, all_or_nothing(accepted))

    assert found == min(filter(accepted, every_schedule(settings)))


@given(st.data(), settings_of_a_search(), st.sampled_from(RULES), st.integers(1, 3))
def test_where_more_is_never_worse_the_result_is_that_of_brute_force(
    data, settings, rule, max_passes
):
    # Each sample has needs of its own and some may be lost: there are several least schedules.
    rows = data.draw(st.lists(needs(settings), min_size=2, max_size=9))
    head = (0,) * settings["first"]
    rows = [head + row[len(head) :] for row in rows]
    tolerance = data.draw(st.floats(0, 0.9))
    differences = per_sample(rows)

    sampler = GSearch(**settings, acceptance=rule, tolerance=tolerance, max_passes=max_passes)
    found, _ = result(sampler, differences)

    assert found == min(
        counts
        for counts in every_schedule(settings)
        if loss(rule, int(sum(differences(counts))), len(rows)) <= tolerance
    )


@given(settings_of_a_search(), st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_without_nesting_each_count_of_one_pass_is_as_low_as_it_goes(settings, seed, share):
    accepted = arbitrary(seed, share, settings["n_max"])

    found, answers = result(GSearch(**settings), all_or_nothing(accepted))

    assert answers[found]
    for layer in range(settings["first"], settings["layers"]):
        if found[layer] > settings["floor"]:
            rest = settings["layers"] - layer
            assert not answers[found[:layer] + (found[layer] - 1,) * rest]


@given(settings_of_a_search(), st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_without_nesting_no_single_count_can_be_lowered_after_all_passes(settings, seed, share):
    accepted = arbitrary(seed, share, settings["n_max"])

    found, answers = result(GSearch(**settings, max_passes=1000), all_or_nothing(accepted))

    assert answers[found]
    for layer in range(settings["first"], settings["layers"]):
        if found[layer] > max((settings["floor"], *found[layer + 1 : layer + 2])):
            assert not answers[(*found[:layer], found[layer] - 1, *found[layer + 1 :])]


@given(settings_of_a_search(), st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_scan_finds_the_least_count_even_without_nesting(settings, seed, share):
    accepted = arbitrary(seed, share, settings["n_max"])
    layers, expected = settings["layers"], (settings["n_max"],) * settings["layers"]
    for layer in range(settings["first"], layers):
        expected = next(
            held
            for count in range(settings["floor"], settings["n_max"] + 1)
            if accepted(held := expected[:layer] + (count,) * (layers - layer))
        )

    found, _ = result(GSearch(**{**settings, "method": "scan"}), all_or_nothing(accepted))

    assert found == expected


@given(settings_of_a_search(), st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_later_passes_only_lower_counts(settings, seed, share):
    differences = all_or_nothing(arbitrary(seed, share, settings["n_max"]))
    one, two, all_of_them = (
        result(GSearch(**settings, max_passes=passes), differences)[0] for passes in (1, 2, 1000)
    )
    assert all(a >= b >= c for a, b, c in zip(one, two, all_of_them, strict=True))


def test_later_passes_go_from_deep_to_shallow_until_nothing_moves():
    # Layer 2 bears 3 only where layer 3 keeps 2 or less; layer 3 bears 1 only where layer 2 does 3.
    accepted = {(4, 4, 4, 4), (4, 4, 4, 2), (4, 4, 3, 2), (4, 4, 3, 1)}.__contains__
    settings = {"layers": 4, "n_max": 4, "floor": 1, "method": "bisection"}
    found = [
        result(GSearch(**settings, max_passes=passes), all_or_nothing(accepted))[0]
        for passes in (1, 2, 3, 9)
    ]
    assert found == [(4, 4, 4, 2), (4, 4, 3, 2), (4, 4, 3, 1), (4, 4, 3, 1)]


def test_count_rejected_above_an_accepted_one_does_not_end_the_layer():
    # The first round asks 1 and 3.
    accepted = {(6,), (1,), (0,)}.__contains__
    sampler = GSearch(layers=1, n_max=6, first=0, concurrent_trials=2)
    assert result(sampler, all_or_nothing(accepted))[0] == (0,)


@given(st.data(), st.integers(1, 40), st.integers(1, 8), st.integers(1, 4), st.booleans())
def test_rounds_are_bounded_by_the_logarithm_of_the_grid(data, n_max, depth, questions, nested):
    settings = {"layers": depth, "n_max": n_max, "first": 0, "concurrent_trials": questions}
    settings["method"] = "bisection"
    if nested:
        differences = per_sample([data.draw(needs(settings))] * 2)
    else:
        differences = all_or_nothing(arbitrary(data.draw(st.integers(0, 10**6)), 0.5, n_max))
    sampler = GSearch(**settings)

    history, rounds = search(sampler, n_max, differences)

    assert len(rounds) <= 1 + depth * math.ceil(math.log(n_max + 1, questions + 1) - 1e-9)
    assert max(rounds) <= questions
    assert rounds[0] == 1, "keep-all is asked alone"


def plain_bisection(sampler: GSearch, accepted) -> tuple[int, ...]:
    """Every layer by bisection over all counts, whatever the layers before it keep."""
    settled = [sampler.n_max] * sampler.layers
    for layer in range(sampler.first, sampler.layers):
        low, high = -1, sampler.n_max
        while high - low > 1:
            middle = (low + high) // 2
            kept = min(middle, settled[layer - 1]) if layer else middle
            yes = accepted((*settled[:layer], *[kept] * (sampler.layers - layer)))
            low, high = (low, middle) if yes else (middle, high)
        above = settled[layer - 1] if layer else sampler.n_max
        settled[layer:] = [min(high, above)] * (sampler.layers - layer)
    return tuple(settled)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6), st.integers(0, 2))
def test_bisection_is_plain_bisection_over_the_grid_even_without_nesting(seed, n_max, depth, first):
    accepted = arbitrary(seed, 0.5, n_max)
    sampler = GSearch(layers=depth + first, n_max=n_max, first=first, method="bisection")
    assert result(sampler, all_or_nothing(accepted))[0] == plain_bisection(sampler, accepted)


def test_published_curve_is_found_at_the_size_of_a_7b_model():
    shares = (
        [1.0] * 2 + [0.65] * 2 + [0.62] * 3 + [0.5] * 5 + [0.236] * 4 + [0.18] * 3 + [0.07] * 13
    )
    published = tuple(int(576 * share) for share in shares)
    sampler = GSearch(layers=32, n_max=576)

    history, _ = search(sampler, 576, per_sample([published, published]))

    assert sampler.best(history).schedule == Schedule.from_counts(published, 576)


def test_spread_over_the_layers_each_spends_its_share_of_the_tolerance():
    # Sample i needs i + 1 tokens of 10 in both layers, and two of the ten samples may lose.
    needs = per_sample([(10, 10, i + 1, i + 1) for i in range(10)])

    def ends(spread: bool) -> tuple[int, ...]:
        sampler = GSearch(layers=4, n_max=10, tolerance=0.2, spread=spread)
        trials, _ = search(sampler, 10, needs)
        best = sampler.best(trials)
        assert best is not None
        return best.schedule.counts(10)

    assert ends(spread=False) == (10, 10, 8, 8)
    assert ends(spread=True) == (10, 10, 9, 8)


def test_what_was_rejected_for_the_share_of_its_layer_alone_is_no_violation():
    # The first pass rejects 8 tokens from layer 2 on, the second accepts 8 in layer 2 and then 0.
    needs = per_sample([(10, 10, i + 1, 0) for i in range(10)])
    sampler = GSearch(layers=4, n_max=10, tolerance=0.2, spread=True, max_passes=2)

    trials, _ = search(sampler, 10, needs, stops=True)

    best = sampler.best(trials)
    assert best is not None
    assert best.schedule.counts(10) == (10, 10, 8, 0)
    assert (1.0, 1.0, 0.8, 0.8) in [trial.schedule.keep for trial in trials]
    assert sampler.nesting(trials).violations == 0
