import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schedsearch.app.objectives import random_schedules, spearman
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import RankerSpec
from tests.pace import examples

SHAPE = DecoderShape(8, 16, 2, 2, 8, 32, 100)
TOKENS = (SampleTokens(24, 5), SampleTokens(16, 9))
values = st.integers(0, 5).map(lambda n: n / 5)


@examples(25)
@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_correlation_of_ranks_is_that_of_scipy(pairs):
    first, second = zip(*pairs, strict=True)
    found = spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)
        assert -1 <= found.low <= found.high <= 1
        assert found.n == len(pairs)


def test_interval_is_the_bootstrap_of_scipy():
    rng = random.Random(0)
    first = [rng.random() for _ in range(30)]
    second = [one + rng.random() for one in first]
    theirs = stats.bootstrap(
        (first, second),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        rng=1,
    ).confidence_interval
    found = spearman(first, second)
    # Two bootstraps of 2000 differ by less; their quantiles have a standard error of about 0.01.
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)


def test_what_a_third_order_explains_is_taken_out_of_both():
    rng = random.Random(1)
    cost = [rng.randrange(9) for _ in range(25)]
    first = [one + 2 * rng.random() for one in cost]
    second = [one + 5 * rng.random() for one in cost]
    ab, ac, bc = (
        stats.spearmanr(*pair).statistic
        for pair in ((first, second), (first, cost), (second, cost))
    )
    expected = (ab - ac * bc) / ((1 - ac**2) * (1 - bc**2)) ** 0.5
    assert spearman(first, second, cost).value == pytest.approx(expected)
    assert spearman(first, second, first) is None
    assert spearman(first, second, [1.0] * 25).value == pytest.approx(ab)


def test_order_alone_counts_and_the_interval_repeats():
    first = [0.1, 0.4, 0.2, 0.9, 0.5]
    assert spearman(first, [one**3 for one in first]).value == pytest.approx(1.0)
    assert spearman(first, [-one for one in first]).value == pytest.approx(-1.0)
    other = [0.3, 0.1, 0.2, 0.8, 0.9]
    assert spearman(first, other) == spearman(first, other)
    assert spearman([1.0], [2.0]) is None


def test_schedules_are_spread_over_all_budgets():
    drawn = random_schedules(10, SHAPE, TOKENS, RankerSpec("text"))
    ratios = [flops_ratio(SHAPE, schedule, TOKENS) for schedule in drawn]
    assert ratios == sorted(ratios)
    assert ratios[-1] - ratios[0] > 0.6 * (1 - ratios[0]) + 0.1
    assert {schedule.ranker.name for schedule in drawn} == {"text"}
    assert random_schedules(10, SHAPE, TOKENS, RankerSpec("text")) == drawn
