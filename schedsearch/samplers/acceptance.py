"""When a schedule counts as no worse than keep-all on the calibration samples."""

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

from schedsearch.core.canonical import is_number
from schedsearch.core.shown import shown
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import InputError

Rule = Literal["drop", "confident"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Acceptance:
    """Which loss against keep-all, measured on the identical samples, is still accepted.

    Reconstruction: 2412.00556 asks for no loss of quality and gives no rule.

    Attributes:
        rule: `drop` looks at the mean of the paired differences, full - candidate. `confident`
            looks at its one-sided 95 % upper bound: what it accepts is shown to be non-inferior
            by that margin, as far as the t distribution fits. Where all differences are equal
            their spread is 0, and so is what the bound adds.
        tolerance: The greatest loss that is accepted, in units of the metric; 0 or more.
        noise: How many standard errors of `Measurement.chance` are taken off the loss, so that
            changes that cancel out reject nothing.

    Raises:
        InputError: The rule is unknown, or the tolerance is negative or not finite.
    """

    rule: Rule = "drop"
    tolerance: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in ("drop", "confident"):
            raise InputError(
                f"`acceptance` must be drop or confident, but got {shown(self.rule)}; choose one"
            )
        if not (is_number(self.tolerance) and 0 <= self.tolerance < math.inf):
            raise InputError(
                f"`tolerance` must be a number from 0 on, but got {shown(self.tolerance)}; "
                f"keep-all itself, whose drop is 0, must be within it"
            )

    def accepts(self, measurement: Measurement) -> bool:
        """Say whether the measured loss is within the tolerance."""
        return self.loss(measurement) <= self.tolerance

    def passes(self, trial: Trial) -> bool:
        """Say whether a finished trial does not reject its schedule.

        All samples accept it, a screen may; pruned means that all samples would reject it.
        """
        if trial.measurement is None:
            return trial.state is TrialState.SCREENED
        return self.accepts(trial.measurement)

    def loss(self, measurement: Measurement) -> float:
        """Return what is compared with the tolerance, in units of the metric.

        `confident` has no bound on a single sample: infinity.
        """
        drop, error = measurement.drop, measurement.drop_standard_error
        assert drop is not None, "a drop is known as soon as keep-all is measured"
        drop -= self.noise * measurement.chance
        if self.rule == "drop":
            return drop
        if error is None:
            return math.inf
        return drop + student_t_quantile(measurement.n - 1) * error


@cache
def student_t_quantile(df: int) -> float:
    """Return the 0.95 quantile of Student's t with `df` >= 1 degrees of freedom.

    Bisection on the finite series for whole degrees (Abramowitz and Stegun 26.7.3, 26.7.4):
    accurate to 1e-11 without SciPy, which the base installation does not bring.
    """
    # The normal distribution is the limit for many degrees; one degree has tan(0.45 pi) = 6.31.
    low, high = NormalDist().inv_cdf(_CONFIDENCE), 6.32
    while (middle := (low + high) / 2) not in (low, high):
        if _central_probability(middle, df) < 2 * _CONFIDENCE - 1:
            low = middle
        else:
            high = middle
    return high


def _central_probability(t: float, df: int) -> float:
    """Return the probability that Student's t with `df` degrees lies within -t and t."""
    angle = math.atan(t / math.sqrt(df))
    odd = df % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for power in range(odd, df - 1, 2):  # of the cosine, up to df - 2
        total += term
        term *= math.cos(angle) ** 2 * (power + 1) / (power + 2)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
