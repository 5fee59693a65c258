"""How many samples a search needs, and what few of them can tell."""

import math
from dataclasses import replace

import pytest
from scipy.stats import binomtest

from schedsearch.app.sample_size import (
    LEAST_SAMPLES,
    Told,
    changes_of,
    check_size,
    half_width,
    lucky,
    most_lost,
    span_of,
    tolerances,
    warn_of_tolerance,
)
from schedsearch.core.bounds import Flips
from schedsearch.core.power import resolving
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore, Trial, TrialState
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
        (0.01, 100, 1.0, "less than 100 samples tell from 0, which is 0.073 even where no answer "),
        (0.003, 1000, 1.0, "at least 2609 samples"),
        (0.003, 2609, 1.0, ""),
        (0.0, 10, 1.0, ""),
        (0.01, 50, math.inf, ""),
        (0.3, 261, 100.0, "acts like 0"),
        (0.4, 1000, 100.0, "at least 1955 samples"),
        (0.01, 50, 0.0, ""),
    ],
)
def test_tolerance_that_samples_cannot_tell_from_0_is_said(
    caplog, tolerance, samples, greatest, said
):
    warn_of_tolerance("tolerance", tolerance, samples, greatest)
    assert bool(caplog.records) == bool(said)
    assert said in caplog.text


def closed(number: int, lost: int, gained: int, n: int = 1000, keep: float = 0.5) -> Trial:
    """A trial under which so many of n answers changed."""
    full = [SampleScore(str(i), float(i >= gained)) for i in range(n)]
    under = [SampleScore(str(i), float(i < gained or i >= gained + lost)) for i in range(n)]
    measured = Measurement.of(under, 0.5, 0.5, full)
    return Trial(number, {"pass": 1}, Schedule((1.0, keep)), TrialState.COMPLETE, measured)


def pruned(number: int) -> Trial:
    return replace(closed(number, 1, 1), state=TrialState.PRUNED, measurement=None, reason="lost")


def test_first_schedule_within_the_tolerance_says_once_what_the_samples_tell(caplog):
    tell = Told("tolerance", 0.005, 1.0)
    for trial in (closed(0, 0, 0, keep=1.0), pruned(1), closed(2, 90, 50)):
        tell(trial)
    assert not caplog.records

    tell(closed(3, 52, 47))
    tell(closed(4, 52, 47))

    (said,) = caplog.records
    needed = resolving(Flips(1000, 52, 47), 0.005)
    assert said.levelname == "WARNING"
    assert "`tolerance` 0.005 is less than these 1000 samples tell from 0: 0.028" in said.message
    assert f"trial 3; about {needed} samples would tell it" in said.message


def test_tolerance_that_the_samples_tell_from_0_is_no_warning(caplog):
    caplog.set_level("INFO", "schedsearch")
    Told("max_drop", 0.05, 1.0)(closed(1, 52, 47))
    (said,) = caplog.records
    assert said.levelname == "INFO"
    assert "1000 samples tell drops from 0.028 on" in said.message


def test_tolerance_of_0_is_left_alone(caplog):
    Told("tolerance", 0.0, 1.0)(closed(1, 0, 3))
    assert not caplog.records


def test_tolerances_are_the_settings_that_say_what_may_be_lost():
    assert tolerances({"sampler": "g-search", "tolerance": 0.01}) == [("tolerance", 0.01)]
    assert tolerances({"sampler": "frontier", "max_drop": 0}) == [("max_drop", 0)]
    assert tolerances({"sampler": "bayes", "tolerance": "much"}) == []


def test_what_a_sample_can_lose_is_the_span_of_the_metric():
    measured = closed(1, 52, 47).measurement
    assert changes_of(measured, 2.0).unit == 2.0
    assert changes_of(measured, math.inf).unit == 0.0
    assert (span_of("last_state_cosine"), span_of("exact_match")) == (2.0, 1.0)
    assert span_of("kl_divergence") == span_of("none of ours") == math.inf


def test_single_sample_says_nothing_of_changes():
    assert (
        changes_of(Measurement.of([SampleScore("a", 1.0)], 1, 1, [SampleScore("a", 1.0)]), 1.0)
        is None
    )
