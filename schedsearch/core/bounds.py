"""Upper confidence bounds on a mean drop that hold for every number of samples.

A drop is the full model's score less the reduced model's on the same sample, so that positive is
worse. All bounds share two questions: `p_value(tolerance)`, the evidence against "the true mean
drop is `tolerance` or more", and `upper_bound(alpha)`, the least tolerance it could have proven;
the one is at most `alpha` where the other is at most `tolerance`. Both hold with probability
`1 - alpha` for any distribution the samples are drawn from independently; nothing is asymptotic.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.floating[Any]]


class Bound(Protocol):
    """Evidence from samples about the mean drop of the distribution they were drawn from."""

    def p_value(self, tolerance: float) -> float:
        """Of H0 "the mean drop is `tolerance` or more"; does not increase with `tolerance`.

        Raises:
            ValueError: `tolerance` lies outside -1..1.
        """
        ...

    def upper_bound(self, alpha: float) -> float:
        """Least tolerance proven at level `alpha`, rounded up by at most 1e-6.

        Raises:
            ValueError: `alpha` lies outside the levels the bound can reach.
        """
        ...


def certified(p_values: Iterable[float], alpha: float) -> int:
    """How many members of a chain, tested in its order up to the first failure, are proven.

    With probability `1 - alpha` none of them is a false proof, however long the chain is, if its
    order was fixed before the samples were seen (fixed-sequence testing: Maurer, Hothorn and
    Lehmacher 1995; Learn then Test, arXiv 2110.01052). A member that must hold for
    several tasks at once enters with the largest of their p-values (intersection-union test,
    Berger 1982). Lazy: no p-value behind the first failure is asked for.
    """
    proven = 0
    for p_value in p_values:
        if not p_value <= alpha:
            break
        proven += 1
    return proven


# Order of the outcomes, and share of alpha spent on the disagreement. Any constants are valid;
# these are tight where alpha is near .05.
_Z = 1.645
_SPENT = 1e-3
_CELLS = 512

# Level that the bets aim at, variance that the first one assumes, and the largest share of the
# wealth that one unit may cost.
_AIM, _PRIOR, MOST_STAKED = 0.05, 1.0, 0.75


@dataclass(frozen=True)
class Flips:
    """Exact bound of a paired 0/1 metric: of `n` samples, `lost` got worse and `gained` better.

    The p-value is the probability of an outcome at least as good, at the worst disagreement (share
    of samples that flip) inside its exact 99.9 % interval, plus the .001 that the interval may
    fail (Berger and Boos 1994). Outcomes are ordered by
    `lost - gained + z sqrt(lost + gained + z^2)`, which rises with every loss and falls with every
    gain, so the worst mean drop of H0 is `tolerance` itself (Hsueh, Liu and Chen 2001), and the
    bound is that of Buehler 1957 within the interval.

    Differs: the maximum over the disagreement is not searched on a grid, which would prove
    nothing between its points. Each cell of the interval takes the losses of its lower and the
    gains of its upper end, which bounds all points between them from above.
    """

    n: int
    lost: int
    gained: int

    def __post_init__(self) -> None:
        if not (min(self.lost, self.gained) >= 0 < self.n >= self.lost + self.gained):
            raise ValueError(
                "`lost + gained <= n` must hold with n > 0, "
                f"but got {self.lost} + {self.gained} of {self.n}"
            )

    @classmethod
    def of(cls, drops: Sequence[float]) -> Self:
        """Counts of the drops of one paired 0/1 metric, each -1, 0 or 1.

        Raises:
            ValueError: No drops, or one that is neither -1 nor 0 nor 1.
        """
        odd = next((drop for drop in drops if drop not in (-1, 0, 1)), None)
        if odd is not None:
            raise ValueError(
                f"drops of a 0/1 metric must be -1, 0 or 1, but got {odd:g}; "
                "use `Losses` for other metrics"
            )
        values = list(drops)
        return cls(len(values), values.count(1), values.count(-1))

    def p_value(self, tolerance: float) -> float:
        """See `Bound`; never below .001. Costs about `512 * (lost + gained)` operations."""
        _check_tolerance(tolerance)
        low, high = self._disagreement
        if tolerance >= high:
            return _SPENT
        edges = np.linspace(max(low, tolerance), high, _CELLS + 1)
        lost = np.maximum(0.0, (edges[:-1] + tolerance) / 2)
        gained = np.minimum(edges[1:], (edges[1:] - tolerance) / 2)
        parts = min(_CELLS, 1 + (self.lost + self.gained) // 1000)  # bounds the memory
        worst = max(
            float(self._at_least_as_good(*cells).max())
            for cells in zip(
                np.array_split(lost, parts), np.array_split(gained, parts), strict=True
            )
        )
        return min(1.0, worst + _SPENT)

    def upper_bound(self, alpha: float) -> float:
        """See `Bound`; `alpha` must exceed .001."""
        return _least(self.p_value, alpha, above=_SPENT)

    @cached_property
    def _disagreement(self) -> tuple[float, float]:
        """Exact two-sided interval of the share of samples that flip (Clopper and Pearson 1934)."""
        flips, side = self.lost + self.gained, _SPENT / 2
        high = _crossing(lambda share: _binomial_cdf(flips, self.n, share) > side)[1]
        low = 1 - _crossing(lambda rest: _binomial_cdf(self.n - flips, self.n, rest) > side)[1]
        return low, high

    def _at_least_as_good(self, lost: _Floats, gained: _Floats) -> _Floats:
        """Probability of an outcome no worse than this one for each pair of shares, `(cells,)`.

        Sums over the number of flips the binomial CDF of the losses among them at the most losses
        that are no worse. That maximum grows by 0 or 1 with each flip, so that the CDF follows by
        `P(Bin(D + 1) <= k) = P(Bin(D) <= k) - share P(Bin(D) = k)`.
        """
        disagreement = lost + gained
        share = np.clip(lost / disagreement, 1e-15, 1 - 1e-15)
        mean = self.n * float(disagreement.max())
        flips = np.arange(min(self.n, math.ceil(mean + 8 * math.sqrt(mean) + 30)) + 1)
        here = self.lost - self.gained + _Z * math.sqrt(self.lost + self.gained + _Z**2)
        # 1e-9 keeps outcomes that tie with this one inside; more outcomes are always valid.
        most = np.floor((here + flips - _Z * np.sqrt(flips + _Z**2)) / 2 + 1e-9).astype(int)
        equal = _binomial_pmf(most, flips, share)
        steps = np.diff(most)[:, None] * equal[1:] - share * equal[:-1]
        first = np.full((1, len(share)), float(most[0] >= 0))
        cdf = np.concatenate([first, first + np.cumsum(steps, axis=0)])
        weights = _binomial_pmf(flips, np.full_like(flips, self.n), disagreement)
        beyond = np.maximum(0.0, 1 - weights.sum(axis=0))
        total: _Floats = (weights * cdf).sum(axis=0) + beyond
        return total


@dataclass(frozen=True)
class Losses:
    """Betting bound of any metric between 0 and 1, whose samples may share images.

    Unit `j` is drawn independently and brings `sizes[j]` samples with `sums[j]` as the sum of
    their drops; no unit of the distribution has more than `largest` samples, which must be known
    beforehand: a bound for sizes never seen does not exist. The mean drop is that over samples,
    `E[sum] / E[size]`.

    Under H0 the wealth `prod(1 + bet_j (tolerance sizes_j - sums_j) / largest)` is a nonnegative
    supermartingale, since each bet depends on earlier units alone, so that 1 / its maximum is a
    p-value (Ville 1939; Waudby-Smith and Ramdas, arXiv 2010.09686).
    The bets are their predictable plug-in for a fixed number of units, aimed at alpha = .05 and
    valid at any. The order of the units must be fixed without a look at their drops.

    Differs: one-sided, on -1..1 instead of 0..1, and for units of unequal size.
    """

    sums: tuple[float, ...]
    sizes: tuple[int, ...]
    largest: int = 1

    def __post_init__(self) -> None:
        if not self.sums or len(self.sums) != len(self.sizes):
            raise ValueError(
                "each unit needs one sum and one size, "
                f"but got {len(self.sums)} sums and {len(self.sizes)} sizes"
            )
        for unit, (total, size) in enumerate(zip(self.sums, self.sizes, strict=True)):
            if not 1 <= size <= self.largest:
                raise ValueError(
                    f"a unit must have 1 to {self.largest} samples (`largest`), "
                    f"but unit {unit} has {size}"
                )
            if not abs(total) <= size * (1 + 1e-9):
                raise ValueError(
                    f"drops must lie in -1..1, but the {size} of unit {unit} sum to {total:g}"
                )

    @classmethod
    def of(cls, drops: Sequence[float]) -> Self:
        """One unit for each drop, in their order."""
        return cls(tuple(drops), (1,) * len(drops))

    @classmethod
    def shared(cls, units: Mapping[str, Sequence[float]], largest: int) -> Self:
        """One unit for each image, with the drops of the samples that show it, in their order."""
        return cls(
            tuple(math.fsum(drops) for drops in units.values()),
            tuple(len(drops) for drops in units.values()),
            largest,
        )

    def p_value(self, tolerance: float) -> float:
        """See `Bound`. Linear in the number of units."""
        _check_tolerance(tolerance)
        if tolerance == 1:
            return 0.0
        sums, sizes = self._scaled
        bets = np.minimum(self._bets, MOST_STAKED / (1 - tolerance))
        wealth = np.cumsum(np.log1p(bets * (tolerance * sizes - sums)))
        return math.exp(-max(0.0, float(wealth.max())))

    def upper_bound(self, alpha: float) -> float:
        """See `Bound`."""
        return _least(self.p_value, alpha, above=0.0)

    @property
    def _scaled(self) -> tuple[_Floats, _Floats]:
        return np.array(self.sums) / self.largest, np.array(self.sizes) / self.largest

    @cached_property
    def _bets(self) -> _Floats:
        """Bets before truncation, from the variance of the units before each one."""
        sums, sizes = self._scaled
        means = np.cumsum(sums) / (1 + np.cumsum(sizes))
        seen = np.cumsum((sums - means * sizes) ** 2)
        units = len(sums)
        before = np.concatenate([[0.0], seen[:-1]])
        variances = (_PRIOR + before) / np.arange(1, units + 1)
        bets: _Floats = np.sqrt(2 * math.log(1 / _AIM) / (units * variances))
        return bets


def _check_tolerance(tolerance: float) -> None:
    if not -1 <= tolerance <= 1:
        raise ValueError(f"`-1 <= tolerance <= 1` must hold, but got {tolerance:g}")


def _least(p_value: Callable[[float], float], alpha: float, above: float) -> float:
    """Least tolerance whose p-value is at most `alpha`, or 1."""
    if not above < alpha < 1:
        raise ValueError(f"`{above:g} < alpha < 1` must hold, but got {alpha:g}")
    return _crossing(lambda tolerance: p_value(tolerance) > alpha, -1.0)[1]


def _crossing(before: Callable[[float], bool], low: float = 0.0) -> tuple[float, float]:
    """Brackets by 5e-7 the point in `low`..1 up to which `before` holds."""
    high = 1.0
    while high - low > 5e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return low, high


def _binomial_cdf(k: int, n: int, share: float) -> float:
    """P(Bin(n, share) <= k) for 0 < share < 1."""
    ks = np.arange(k + 1)
    return float(_binomial_pmf(ks, np.full_like(ks, n), np.array([share])).sum())


def _binomial_pmf(k: NDArray[np.int_], n: NDArray[np.int_], share: _Floats) -> _Floats:
    """P(Bin(n_i, share_j) = k_i), `(len(k), len(share))`; 0 where k lies outside 0..n."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(n.max()) + 1)))])
    inside = (k >= 0) & (k <= n)
    k = np.where(inside, k, 0)
    ways = (logs[n] - logs[k] - logs[n - k])[:, None]
    log_pmf = ways + k[:, None] * np.log(share) + (n - k)[:, None] * np.log1p(-share)
    pmf: _Floats = np.where(inside[:, None], np.exp(log_pmf), 0.0)
    return pmf
