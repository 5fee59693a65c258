"""What a number of samples can tell apart, and how many a proof would take.

Plans, not proofs: they assume that later samples disagree as often as those already seen. All but
`needed_units` count samples that share no image.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

from schedsearch.core.bounds import MOST_STAKED, Flips, Losses

_QUANTILE = NormalDist().inv_cdf

_DETECTS = _QUANTILE(0.975) + _QUANTILE(0.8)
"""Standard errors of a drop that a two-sided 95 % interval tells from 0 with probability .8."""


@dataclass(frozen=True)
class Changes:
    """How much the scores of `n` samples differ between two ways to run the model.

    Attributes:
        n: Samples.
        drop: Mean of the paired drops.
        square: Mean of their squares; of a 0/1 metric the share of samples that changed.
        unit: What a sample can lose, where that is known; 0 where it is not.
    """

    n: int
    drop: float
    square: float
    unit: float = 0.0

    @classmethod
    def of(cls, n: int, drop: float, standard_error: float, unit: float = 0.0) -> Self:
        """From the mean of the drops and its standard error."""
        return cls(n, drop, (n - 1) * standard_error**2 + drop**2, unit)

    def flips(self) -> Flips | None:
        """The counts of a paired 0/1 metric; None where the drops are those of none."""
        both, less = self.n * self.square, self.n * self.drop
        lost, gained = round((both + less) / 2), round((both - less) / 2)
        whole = abs(lost + gained - both) + abs(lost - gained - less) < 1e-6
        return Flips(self.n, lost, gained) if whole and lost + gained <= self.n else None


@dataclass(frozen=True)
class Resolution:
    """What `n` paired samples can tell apart; drops as in `schedsearch.core.bounds`."""

    n: int
    half_width: float
    """Of the two-sided 95 % interval of the mean drop (approximation)."""
    detectable: float
    """Least true drop that this interval tells from 0 with probability .8 (approximation)."""

    def resolves(self, tolerance: float) -> bool:
        """Whether a drop as large as `tolerance` would be told from none."""
        return tolerance >= self.detectable


def resolution(seen: Flips | Changes, n: int | None = None) -> Resolution:
    """What `n` samples (those seen, if not given) tell apart at the disagreement seen.

    Half a loss and half a gain are added to the counts, and two samples, so that no disagreement
    among a few samples is not taken for none at all (Agresti and Min 2005); of other metrics half
    a `unit` each.

    Raises:
        ValueError: `n` is not positive.
    """
    n = seen.n if n is None else n
    if n < 1:
        raise ValueError(f"`n >= 1` must hold, but got {n}")
    drop, disagreement = _shares(seen)
    error = math.sqrt((disagreement - drop**2) / n)
    # The drop d solves d = z sqrt((disagreement - d^2) / n): its own size lowers the variance.
    detectable = _DETECTS * math.sqrt(disagreement / (n + _DETECTS**2))
    return Resolution(n, _QUANTILE(0.975) * error, detectable)


def resolving(seen: Flips | Changes, tolerance: float) -> int:
    """Least number of samples whose `resolution` resolves the tolerance.

    Raises:
        ValueError: `tolerance` is not positive.
    """
    if not tolerance > 0:
        raise ValueError(f"`tolerance > 0` must hold, but got {tolerance:g}")
    return max(1, math.ceil(_DETECTS**2 * (_shares(seen)[1] / tolerance**2 - 1) - 1e-9))


def least_detectable(n: int) -> float:
    """Least drop that `n` samples tell from 0 where no answer changes but those that are lost.

    Of a 0/1 metric; with any other disagreement `resolution` is coarser.
    """
    return _DETECTS**2 / (n + _DETECTS**2)


def least_resolving(tolerance: float) -> int:
    """Least number of samples whose `least_detectable` is no more than `tolerance`, in 0..1."""
    return max(1, math.ceil(_DETECTS**2 * (1 / tolerance - 1) - 1e-9))


def provable(
    seen: Flips | Changes, n: int, alpha: float, drop: float = 0.0, power: float = 0.8
) -> float:
    """Least tolerance that `n` samples prove with probability `power` if the true drop is `drop`.

    Of a 0/1 metric the exact bound of the outcome at that quantile (normal approximation of the
    outcome only); of another one the inverse of `needed`.

    Raises:
        ValueError: `n`, `drop` or `power` out of range, `alpha` beyond the bound, or the metric has
            no unit.
    """
    if (flips := _flips(seen)) is not None:
        return _planned(flips, n, drop, power).upper_bound(alpha)
    unit, variance = _bounded(seen)
    _check_levels(alpha, power)
    if n < 1 or not -unit <= drop <= unit:
        raise ValueError(f"`n >= 1` and |drop| <= {unit:g} must hold, but got {n} and {drop:g}")
    silent = math.expm1(math.log(1 / alpha) / n) / MOST_STAKED
    return min(unit, drop + unit * max(silent, _stake(alpha, power) * math.sqrt(variance / n)))


def needed(
    seen: Flips | Changes, tolerance: float, alpha: float, drop: float = 0.0, power: float = 0.8
) -> int:
    """Samples that prove `tolerance` with probability `power` if the true drop is `drop`.

    Of a 0/1 metric the least number, to 1 %, at which the exact bound of `provable` is at most
    `tolerance`. Beyond some thousand flips the bound is its own normal limit to 2 %, which is then
    taken for it. Of another metric as `needed_units` says.

    Raises:
        ValueError: `tolerance` is not above `drop`, or another argument is out of range, or the
            metric has no unit.
    """
    _check_levels(alpha, power)
    if (flips := _flips(seen)) is None:
        unit, variance = _bounded(seen)
        return _bets(_gap(tolerance / unit, drop / unit), variance, alpha, power)
    seen = flips
    gap = _gap(tolerance, drop)
    disagreement = max(abs(drop), _shares(seen)[1])
    z = _QUANTILE(1 - alpha) + _QUANTILE(power)
    limit = math.ceil(disagreement * max(z, 0.0) ** 2 / gap**2)
    if limit * disagreement > 3000:
        return limit

    def proves(n: int) -> bool:
        return _planned(seen, n, drop, power).p_value(tolerance) <= alpha

    high = max(limit, 1)
    while not proves(high):
        high *= 2
    low = 0
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return high


def needed_units(
    seen: Losses, tolerance: float, alpha: float, drop: float = 0.0, power: float = 0.8
) -> int:
    """Units that prove `tolerance` by bets with probability `power` if the true drop is `drop`.

    Approximation: the best constant bet, `n = (sqrt(2 log(1 / alpha)) + z)^2 variance / gap^2`,
    but no fewer than a run without any difference would take.

    Raises:
        ValueError: `tolerance` is not above `drop`, or another argument is out of range.
    """
    _check_levels(alpha, power)
    units = len(seen.sums)
    gap = _gap(tolerance, drop) * math.fsum(seen.sizes) / units
    mean = math.fsum(seen.sums) / math.fsum(seen.sizes)
    pairs = zip(seen.sums, seen.sizes, strict=True)
    variance = math.fsum((total - mean * count) ** 2 for total, count in pairs) / units
    return _bets(gap / seen.largest, variance / seen.largest**2, alpha, power)


def _bets(gap: float, variance: float, alpha: float, power: float) -> int:
    silent = math.log(1 / alpha) / math.log1p(MOST_STAKED * gap)
    return math.ceil(max(silent, variance * _stake(alpha, power) ** 2 / gap**2))


def _stake(alpha: float, power: float) -> float:
    return max(0.0, math.sqrt(2 * math.log(1 / alpha)) + _QUANTILE(power))


def _flips(seen: Flips | Changes) -> Flips | None:
    return seen if isinstance(seen, Flips) else seen.flips()


def _bounded(seen: Flips | Changes) -> tuple[float, float]:
    """Unit of a metric that is not 0/1, and the variance of its drops in such units."""
    assert isinstance(seen, Changes)
    if not seen.unit > 0:
        raise ValueError("a metric without bounds proves nothing, but got no `unit`")
    drop, square = _shares(seen)
    return seen.unit, (square - drop**2) / seen.unit**2


def _planned(seen: Flips, n: int, drop: float, power: float) -> Flips:
    """Outcome of `n` samples that is no better in a share `power` of all runs (approximation)."""
    if n < 1 or not -1 <= drop <= 1:
        raise ValueError(f"`n >= 1` and `-1 <= drop <= 1` must hold, but got {n} and {drop:g}")
    _check_levels(0.5, power)
    disagreement = max(abs(drop), _shares(seen)[1])
    flips = min(n, math.ceil(n * disagreement))
    difference = n * drop + _QUANTILE(power) * math.sqrt(n * (disagreement - drop**2))
    lost = min(flips, max(0, math.ceil((flips + difference) / 2)))
    return Flips(n, lost, flips - lost)


def _shares(seen: Flips | Changes) -> tuple[float, float]:
    """Mean drop and disagreement with half a loss and half a gain more."""
    if (flips := _flips(seen)) is not None:
        lost, gained = flips.lost, flips.gained
        return (lost - gained) / (seen.n + 2), (lost + gained + 1) / (seen.n + 2)
    assert isinstance(seen, Changes)
    more = seen.n + 2
    return seen.n * seen.drop / more, (seen.n * seen.square + seen.unit**2) / more


def _gap(tolerance: float, drop: float) -> float:
    if not -1 <= drop < tolerance <= 1:
        raise ValueError(
            f"`-1 <= drop < tolerance <= 1` must hold, but got drop {drop:g} and tolerance "
            f"{tolerance:g}; nothing proves a tolerance that the true drop reaches"
        )
    return tolerance - drop


def _check_levels(alpha: float, power: float) -> None:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"`alpha` and `power` must lie in 0..1, but got {alpha:g} and {power:g}")
