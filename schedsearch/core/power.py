"""What a number of samples can tell apart, and how many a proof would take.

Plans, not proofs: they assume that later samples disagree as often as those already seen.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from schedsearch.core.bounds import MOST_STAKED, Flips, Losses

_QUANTILE = NormalDist().inv_cdf


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


def resolution(seen: Flips, n: int | None = None) -> Resolution:
    """What `n` samples (those seen, if not given) tell apart at the disagreement seen.

    Half a loss and half a gain are added to the counts, and two samples, so that no disagreement
    among a few samples is not taken for none at all (Agresti and Min 2005).

    Raises:
        ValueError: `n` is not positive.
    """
    n = seen.n if n is None else n
    if n < 1:
        raise ValueError(f"`n >= 1` must hold, but got {n}")
    drop, disagreement = _shares(seen)
    error = math.sqrt((disagreement - drop**2) / n)
    z = _QUANTILE(0.975) + _QUANTILE(0.8)
    # The drop d solves d = z sqrt((disagreement - d^2) / n): its own size lowers the variance.
    detectable = z * math.sqrt(disagreement / (n + z**2))
    return Resolution(n, _QUANTILE(0.975) * error, detectable)


def provable(seen: Flips, n: int, alpha: float, drop: float = 0.0, power: float = 0.8) -> float:
    """Least tolerance that `n` samples prove with probability `power` if the true drop is `drop`.

    The exact bound of the outcome at that quantile (normal approximation of the outcome only).

    Raises:
        ValueError: `n`, `drop` or `power` out of range, or `alpha` beyond the bound.
    """
    return _planned(seen, n, drop, power).upper_bound(alpha)


def needed(
    seen: Flips, tolerance: float, alpha: float, drop: float = 0.0, power: float = 0.8
) -> int:
    """Samples that prove `tolerance` with probability `power` if the true drop is `drop`.

    The least number, to 1 %, at which the exact bound of `provable` is at most `tolerance`. Beyond
    some thousand flips the bound is its own normal limit to 2 %, which is then taken for it.

    Raises:
        ValueError: `tolerance` is not above `drop`, or another argument is out of range.
    """
    _check_levels(alpha, power)
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
    z = math.sqrt(2 * math.log(1 / alpha)) + _QUANTILE(power)
    silent = math.log(1 / alpha) / math.log1p(MOST_STAKED * gap / seen.largest)
    return math.ceil(max(silent, variance * max(z, 0.0) ** 2 / gap**2))


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


def _shares(seen: Flips) -> tuple[float, float]:
    """Mean drop and disagreement of the counts with half a loss and half a gain more."""
    return (seen.lost - seen.gained) / (seen.n + 2), (seen.lost + seen.gained + 1) / (seen.n + 2)


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
