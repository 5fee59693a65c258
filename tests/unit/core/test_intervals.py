"""Intervals agree with scipy and cover what they promise."""

import math
import random

import pytest
from scipy import stats

from schedsearch.core import intervals


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (37, 50), (914, 1000)])
def test_proportion_is_the_wilson_interval(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")

    found = intervals.proportion(successes, n)

    assert found.value == successes / n
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_paired_interval_covers_the_true_difference() -> None:
    # 400 repetitions at 95 %: fewer than 360 or more than 397 hits have a probability below 1e-3.
    rng = random.Random(0)
    hits = 0
    for _ in range(400):
        base = [rng.gauss(0, 5) for _ in range(60)]
        shifted = [x + rng.gauss(0.5, 1) for x in base]
        found = intervals.paired_difference(shifted, base)
        hits += found.low <= 0.5 <= found.high
    assert 360 <= hits <= 397


def test_interval_around_an_estimate_is_the_normal_one() -> None:
    expected = stats.norm.interval(0.95, loc=0.7, scale=0.05)

    found = intervals.around(0.7, 0.05, 30)

    assert (found.value, found.n) == (0.7, 30)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_one_value_has_an_infinite_interval() -> None:
    found = intervals.mean([0.3])
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert not found.excludes_zero()


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="must hold"):
        intervals.proportion(successes, n)


def test_pairs_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        intervals.paired_difference([1.0], [1.0, 2.0])


def test_right_or_wrong_scores_get_an_interval_inside_zero_and_one() -> None:
    found = intervals.of_scores([1.0] * 19 + [0.0])
    assert found == intervals.proportion(19, 20)
    assert found.high < 1.0


def test_other_scores_get_the_interval_of_a_mean() -> None:
    assert intervals.of_scores([-1.0, -2.0]) == intervals.mean([-1.0, -2.0])
