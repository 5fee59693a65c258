"""Plans come true: by exact enumeration for flips, by simulation for bets."""

import math
import random
import statistics

import pytest
from scipy import stats

from schedsearch.core.bounds import Flips, Losses
from schedsearch.core.power import (
    Changes,
    least_detectable,
    least_resolving,
    needed,
    needed_units,
    provable,
    resolution,
    resolving,
)


def test_planned_number_of_samples_proves_the_tolerance_as_often_as_promised() -> None:
    # Exact: probability of all outcomes proven at the planned n, where the plan's disagreement
    # holds and no true drop. A tenth of the power is what the normal outcome may be off.
    seen, tolerance = Flips(998, 10, 9), 0.03
    disagreement = 20 / 1000
    n = needed(seen, tolerance, 0.05)

    proven = 0.0
    for flips in range(25):
        share = stats.binom.pmf(flips, n, disagreement)
        for lost in range(flips + 1):
            if Flips(n, lost, flips - lost).p_value(tolerance) > 0.05:
                break  # more losses among as many flips prove less
            proven += share * stats.binom.pmf(lost, flips, 0.5)

    assert 0.72 <= proven <= 0.95


def test_bets_prove_the_tolerance_about_as_often_as_planned() -> None:
    # 100 runs at a planned power of .8: fewer than 65 proofs has a probability below 1e-3.
    rng = random.Random(0)
    seen = Losses.of([rng.choice([-0.5, 0.0, 0.0, 0.5]) for _ in range(200)])
    n = needed_units(seen, 0.05, 0.05)

    proofs = sum(
        Losses.of([rng.choice([-0.5, 0.0, 0.0, 0.5]) for _ in range(n)]).p_value(0.05) <= 0.05
        for _ in range(100)
    )

    assert proofs >= 65


@pytest.mark.parametrize("drop", [0.0, 0.004])
def test_needed_samples_prove_the_tolerance_and_far_fewer_do_not(drop: float) -> None:
    seen = Flips(1000, 25, 25)
    n = needed(seen, 0.02, 0.05, drop)
    assert provable(seen, n, 0.05, drop) <= 0.02 + 1e-6
    assert provable(seen, n * 9 // 10, 0.05, drop) > 0.02


def test_more_samples_prove_a_smaller_tolerance() -> None:
    seen = Flips(200, 10, 10)
    found = [provable(seen, n, 0.05) for n in (100, 300, 900)]
    assert found == sorted(found, reverse=True)
    assert needed(seen, 0.002, 0.05) > needed(seen, 0.03, 0.05) > needed(seen, 0.06, 0.05)


def test_large_plans_join_the_exact_ones() -> None:
    # Just beyond 3,000 flips, where the normal form stands in: the exact bound agrees to 5 %. The
    # outcome is the one at the planned quantile .8, which is .8416 standard errors.
    n = needed(Flips(998, 50, 49), 0.0045, 0.05)
    flips = round(0.1 * n)
    lost = round((flips + 0.8416 * math.sqrt(flips)) / 2)
    outcome = Flips(n, lost, flips - lost)
    assert flips > 3000
    assert outcome.p_value(0.0045 * 1.05) <= 0.05 < outcome.p_value(0.0045 * 0.95)


def test_resolution_is_the_normal_interval_of_the_paired_difference() -> None:
    found = resolution(Flips(1000, 60, 40))
    drop, disagreement = 20 / 1002, 101 / 1002
    error = math.sqrt((disagreement - drop**2) / 1000)
    assert found.half_width == pytest.approx(stats.norm.ppf(0.975) * error)


def test_detectable_drop_is_detected_in_four_runs_of_five() -> None:
    found = resolution(Flips(998, 50, 49))
    error = math.sqrt((0.1 - found.detectable**2) / 998)
    detected = stats.norm.sf(stats.norm.ppf(0.975) - found.detectable / error)
    assert detected == pytest.approx(0.8)


def test_tolerance_below_the_resolution_is_said_to_be() -> None:
    seen = Flips(770, 20, 19)
    assert not resolution(seen).resolves(0.005)
    assert resolution(seen, n=80_000).resolves(0.005)


def test_no_flip_among_few_samples_is_not_taken_for_perfect_resolution() -> None:
    assert resolution(Flips(30, 0, 0)).half_width > 0.05


@pytest.mark.parametrize("plan", [needed, needed_units])
def test_tolerance_that_the_drop_reaches_is_refused(plan) -> None:
    seen = Flips(10, 1, 1) if plan is needed else Losses.of([1.0, -1.0])
    with pytest.raises(ValueError, match="nothing proves a tolerance"):
        plan(seen, 0.01, 0.05, drop=0.01)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        plan(seen, 0.01, 0.0)


def test_impossible_number_of_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="`n >= 1`"):
        resolution(Flips(10, 1, 1), n=0)
    with pytest.raises(ValueError, match="`n >= 1`"):
        provable(Flips(10, 1, 1), 0, 0.05)


def changes(drops: list[float], unit: float = 1.0) -> Changes:
    error = statistics.stdev(drops) / math.sqrt(len(drops))
    return Changes.of(len(drops), statistics.fmean(drops), error, unit)


def test_mean_and_standard_error_of_a_0_1_metric_are_its_flips() -> None:
    drops = [1.0] * 7 + [-1.0] * 4 + [0.0] * 189
    found = changes(drops)
    assert found.flips() == Flips(200, 7, 4)
    assert resolution(found) == resolution(Flips(200, 7, 4))
    assert needed(found, 0.03, 0.05) == needed(Flips(200, 7, 4), 0.03, 0.05)
    assert provable(found, 500, 0.05) == provable(Flips(200, 7, 4), 500, 0.05)


def test_graded_drops_are_no_flips_and_tell_more_apart_than_flips_as_frequent() -> None:
    found = changes([0.3] * 7 + [-0.3] * 4 + [0.0] * 189)
    assert found.flips() is None
    flips = resolution(Flips(200, 7, 4))
    # A third of the size, but for the half loss and half gain of a whole unit that are added.
    assert flips.detectable / 3 < resolution(found).detectable < flips.detectable / 2


def test_plans_for_graded_drops_are_those_of_bets() -> None:
    drops = [0.5] * 40 + [-0.5] * 40 + [0.25] * 1 + [0.0] * 9919
    found = changes(drops)
    n = needed(found, 0.02, 0.05)
    # The half loss and half gain that are added to 20 squares are 5 % of them.
    assert n == pytest.approx(needed_units(Losses.of(drops), 0.02, 0.05), rel=0.06)
    assert provable(found, n, 0.05) <= 0.02 < provable(found, n * 9 // 10, 0.05)


def test_scale_of_a_metric_is_no_matter() -> None:
    drops = [0.5] * 9 + [-0.5] * 8 + [0.25] * 3 + [0.0] * 180
    one, hundred = changes(drops), changes([100 * drop for drop in drops], unit=100.0)
    assert needed(hundred, 5.0, 0.05) == needed(one, 0.05, 0.05)
    assert resolving(hundred, 5.0) == resolving(one, 0.05)
    assert provable(hundred, 300, 0.05) == pytest.approx(100 * provable(one, 300, 0.05))


def test_metric_without_bounds_proves_nothing_but_is_resolved() -> None:
    found = changes([3.1, -2.0, 0.0, 0.4], unit=0.0)
    assert resolution(found).detectable > 0
    with pytest.raises(ValueError, match="without bounds"):
        needed(found, 0.5, 0.05)
    with pytest.raises(ValueError, match="without bounds"):
        provable(found, 100, 0.05)


@pytest.mark.parametrize("tolerance", [0.005, 0.02, 0.3])
def test_least_number_that_resolves_a_tolerance_resolves_it_and_one_less_does_not(
    tolerance,
) -> None:
    seen = Flips(770, 20, 19)
    n = resolving(seen, tolerance)
    assert resolution(seen, n).resolves(tolerance * (1 + 1e-9))
    assert n == 1 or not resolution(seen, n - 1).resolves(tolerance)
    with pytest.raises(ValueError, match="`tolerance > 0`"):
        resolving(seen, 0.0)


@pytest.mark.parametrize("tolerance", [0.003, 0.01, 0.2])
def test_fewest_samples_of_all_are_those_where_only_lost_answers_change(tolerance) -> None:
    n = least_resolving(tolerance)
    assert least_detectable(n) <= tolerance * (1 + 1e-9) < least_detectable(n - 1)
    # A million of which as many are lost as the tolerance says: Agresti's additions vanish there.
    seen = Flips(10**6, round(tolerance * 10**6), 0)
    assert resolving(seen, tolerance) == pytest.approx(n, rel=1e-2)
