"""Confidence intervals for reports; the same formulas wherever a figure has a ± beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided 95 % confidence interval."""

    value: float
    low: float
    high: float
    n: int

    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


_Z = NormalDist().inv_cdf(0.975)


def proportion(successes: int, n: int) -> Interval:
    """Wilson score interval of a share (Wilson 1927); sound for shares near 0 and 1.

    Raises:
        ValueError: `n` is not positive or `successes` lies outside 0..n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"`0 <= successes <= n` must hold with n > 0, but got {successes} of {n}")
    share, z2 = successes / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def mean(values: Sequence[float]) -> Interval:
    """Mean with its normal interval, 1.96 standard errors; infinite below two values.

    Raises:
        ValueError: No values.
    """
    if not values:
        raise ValueError("the mean of no values is undefined")
    return around(fmean(values), standard_error(values), len(values))


def around(value: float, error: float, n: int) -> Interval:
    """Normal interval of an estimate from `n` values: 1.96 standard errors to both sides."""
    return Interval(value, value - _Z * error, value + _Z * error, n)


def of_scores(values: Sequence[float]) -> Interval:
    """Mean of a metric: as a share where every score is 0 or 1, as a mean otherwise."""
    if all(value in (0.0, 1.0) for value in values):
        return proportion(int(sum(values)), len(values))
    return mean(values)


def of_units(sums: Sequence[float], sizes: Sequence[int]) -> Interval:
    """Mean over samples that come in units, such as those of one image; infinite below two units.

    The ratio of sums and sizes, with the normal interval of its linearisation.

    Args:
        sums: Of the values of each unit.
        sizes: Numbers of values in each.

    Raises:
        ValueError: No units.
    """
    n, units = sum(sizes), len(sums)
    if not units:
        raise ValueError("the mean of no values is undefined")
    value = math.fsum(sums) / n
    squares = math.fsum((a - value * b) ** 2 for a, b in zip(sums, sizes, strict=True))
    error = math.sqrt(squares * units / (units - 1)) / n if units > 1 else math.inf
    return around(value, error, n)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of `first - second` over the same samples, with the interval of the differences.

    Raises:
        ValueError: The lengths differ or are 0.
    """
    return mean([a - b for a, b in zip(first, second, strict=True)])


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean; infinite below two values."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
