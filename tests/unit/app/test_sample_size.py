"""How many samples a search needs, and what few of them can tell."""

import math

import pytest
from scipy.stats import binomtest

from schedsearch.app.sample_size import (
    LEAST_SAMPLES,
    check_size,
    half_width,
    lucky,
    most_lost,
    warn_of_tolerance,
)
from schedsearch.errors import DataError


@pytest.mark.parametrize("samples", [1, 2, 3, LEAST_SAMPLES - 1])
def test_too_few_samples_are_refused_with_the_reason(samples):
    with pytest.raises(DataError) as refused:
        check_size(samples)
    assert f"at least {LEAST_SAMPLES} samples, but got {samples}: a schedule" in str(refused.value)
    assert f"{0.5**samples:.2g}" in str(refused.value)


def test_least_number_keeps_a_search_of_fifty_questions_from_being_fooled():
    check_size(LEAST_SAMPLES)
    assert 50 * lucky(LEAST_SAMPLES) < 0.05 < 50 * lucky(LEAST_SAMPLES - 1)


@pytest.mark.parametrize("samples", [10, 100, 1000])
def test_bound_without_a_loss_is_the_exact_binomial_one(samples):
    exact = binomtest(0, samples, alternative="less").proportion_ci(0.95).high
    assert most_lost(samples) == pytest.approx(exact, rel=1e-9)


def test_half_width_is_that_of_a_paired_interval():
    changed = 0.1
    spread = math.sqrt(changed)  # of differences +1, -1 and 0 whose mean is 0
    assert half_width(400, changed) == pytest.approx(1.96 * spread / 20)


@pytest.mark.parametrize(
    ("tolerance", "samples", "greatest", "said"),
    [
        (0.01, 50, 1.0, "acts like 0: of 50 samples one lost answer weighs 0.02; calibrate on at "),
        (0.003, 100, 1.0, "at least 334 samples"),
        (0.001, 100, 1.0, "at least 1000 samples"),
        (0.01, 100, 1.0, ""),
        (0.0, 10, 1.0, ""),
        (0.01, 50, math.inf, ""),
        (0.01, 50, 0.0, ""),
    ],
)
def test_tolerance_below_one_answer_is_said(caplog, tolerance, samples, greatest, said):
    warn_of_tolerance("tolerance", tolerance, samples, greatest)
    assert bool(caplog.records) == bool(said)
    assert said in caplog.text
