import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schedsearch.errors import InputError
from schedsearch.samplers.acceptance import Acceptance, student_t_quantile
from tests.unit.samplers.synthetic import measurement

CONFIDENT = Acceptance("confident", 0.0)


def non_inferiority_bound(full: list[float], candidate: list[float]) -> float:
    test = stats.ttest_rel(full, candidate, alternative="less")
    return float(test.confidence_interval(0.95).high)


@pytest.mark.parametrize("df", [*range(1, 40), 63, 64, 255, 511, 1000, 4999])
def test_quantile_is_that_of_student(df):
    assert student_t_quantile(df) == pytest.approx(stats.t.ppf(0.95, df), rel=1e-11)


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=60).filter(
        lambda pairs: np.std([a - b for a, b in pairs]) > 1e-3  # else scipy warns of cancellation
    )
)
def test_confident_takes_the_one_sided_bound_of_the_paired_t_test(pairs):
    full, candidate = map(list, zip(*pairs, strict=True))
    bound = non_inferiority_bound(full, candidate)
    measured = measurement([a - b for a, b in pairs])

    assert CONFIDENT.loss(measured) == pytest.approx(bound, rel=1e-9, abs=1e-9)
    if bound > 0.001:
        assert not Acceptance("confident", bound * 0.999).accepts(measured)
        assert Acceptance("confident", bound * 1.001).accepts(measured)


def test_confident_accepts_a_true_loss_at_the_tolerance_in_five_percent():
    # Binomial(4000, 0.05): below 140 or above 262 with a probability below 1e-5.
    rng = random.Random(0)
    rule = Acceptance("confident", 0.3)
    accepted = sum(
        rule.accepts(measurement([rng.gauss(0.3, 1) for _ in range(20)])) for _ in range(4000)
    )
    assert 140 <= accepted <= 262


def test_drop_accepts_up_to_the_tolerance_itself():
    five_of_five_hundred = measurement([1.0] * 5 + [0.0] * 495)
    assert Acceptance("drop", 0.01).accepts(five_of_five_hundred)
    assert not Acceptance("drop", math.nextafter(0.01, 0)).accepts(five_of_five_hundred)


def test_what_gains_on_average_is_accepted_by_drop_but_must_be_sure_for_confident():
    measured = measurement([1.0, -1.5, 1.0, -1.5])
    assert Acceptance("drop", 0.0).accepts(measured)
    assert not CONFIDENT.accepts(measured)


def test_identical_scores_are_accepted_without_tolerance():
    assert CONFIDENT.accepts(measurement([0.0, 0.0]))


def test_one_sample_is_never_enough_to_be_confident():
    assert Acceptance("drop", 0.0).accepts(measurement([0.0]))
    assert CONFIDENT.loss(measurement([0.0])) == math.inf


@pytest.mark.parametrize("tolerance", [-0.01, math.nan, math.inf, "0.01", True])
def test_tolerance_that_keep_all_cannot_meet_is_refused(tolerance):
    with pytest.raises(InputError, match="`tolerance` must be a number from 0 on, but got"):
        Acceptance("drop", tolerance)


def test_unknown_rule_is_refused():
    with pytest.raises(InputError, match="`acceptance` must be drop or confident, but got 'mean'"):
        Acceptance("mean")


def test_what_chance_explains_rejects_nothing():
    measured = measurement([1.0] * 40 + [-1.0] * 30 + [0.0] * 530)  # chance: sqrt(60) / 600 = .0129

    assert not Acceptance(tolerance=0.01).accepts(measured)
    assert Acceptance(tolerance=0.01, noise=1.0).accepts(measured)
    assert not Acceptance(tolerance=0.001, noise=1.0).accepts(measured)


def test_losses_without_gains_are_no_chance():
    measured = measurement([1.0] * 7 + [0.0] * 593)
    assert not Acceptance(tolerance=0.01, noise=10.0).accepts(measured)
