"""How many calibration samples a search needs, and what a given number of them can tell."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from schedsearch.core.power import (
    Changes,
    least_detectable,
    least_resolving,
    resolution,
    resolving,
)
from schedsearch.core.trial import Measurement, Trial
from schedsearch.errors import DataError
from schedsearch.evaluation.metrics import METRICS

LEAST_SAMPLES = 10
"""Fewest of a search: one that asks 50 questions about schedules that lose every second answer is
fooled by luck with probability 50 * .5^10 = .05."""

log = logging.getLogger(__name__)


def check_size(samples: int) -> None:
    """Refuse a calibration set on which anything may pass.

    Raises:
        DataError: There are fewer samples than `LEAST_SAMPLES`.
    """
    if samples < LEAST_SAMPLES:
        raise DataError(
            f"the calibration set must have at least {LEAST_SAMPLES} samples, but got {samples}: "
            f"a schedule that loses every second answer passes on so few with probability "
            f"{lucky(samples):.2g}, and a search asks many times; add samples, better hundreds"
        )


def warn_of_tolerance(name: str, tolerance: float, samples: int, greatest: float) -> None:
    """Say that a tolerance above 0 is too small for what these samples can tell.

    Either a single lost answer exceeds it; or a drop of that size is not told from none, however
    little else changes.

    Args:
        name: Of the setting.
        tolerance: Its value.
        samples: In the calibration set.
        greatest: Score of a right answer; nothing is said where it is no positive number.
    """
    if not (math.isfinite(greatest) and tolerance > 0):
        return
    weight, least = greatest / samples, greatest * least_detectable(samples)
    if tolerance < weight:
        log.warning(
            "`%s` %g acts like 0: of %d samples one lost answer weighs %.2g; calibrate on "
            "at least %d samples, or raise it",
            name,
            tolerance,
            samples,
            weight,
            math.ceil(round(greatest / tolerance, 9)),
        )
    elif tolerance < least:
        log.warning(
            "`%s` %g is less than %d samples tell from 0, which is %.2g even where no answer "
            "changes but those that are lost; calibrate on at least %d samples, or raise it",
            name,
            tolerance,
            samples,
            least,
            least_resolving(tolerance / greatest),
        )


def tolerances(search: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Name and value of each setting of a search that says what its result may lose."""
    found = [(name, search.get(name)) for name in ("tolerance", "max_drop")]
    return [(name, value) for name, value in found if isinstance(value, int | float)]


def span_of(metric: str) -> float:
    """Greatest less least score of a metric, by name; infinity where that is not known."""
    found = METRICS.get(metric)
    return float(getattr(found, "greatest", math.inf) - getattr(found, "least", -math.inf))


def changes_of(measured: Measurement, span: float) -> Changes | None:
    """How much scores differ from keep-all's under a schedule; None of a single sample.

    Args:
        measured: Of the schedule.
        span: Greatest less least score: what a sample can lose, where that is finite.
    """
    if measured.drop is None or measured.drop_standard_error is None:
        return None
    unit = span if span < math.inf else 0.0
    return Changes.of(measured.n, measured.drop, measured.drop_standard_error, unit)


class Told:
    """Says once what the calibration samples tell apart: at the first schedule within a tolerance.

    Schedules that lose more change more answers than those that a search has to tell apart.

    Args:
        name: Of the setting that is the tolerance.
        tolerance: Its value.
        span: As for `changes_of`.
    """

    def __init__(self, name: str, tolerance: float, span: float) -> None:
        self._name = name
        self._tolerance = tolerance
        self._span = span
        self._said = not tolerance > 0

    def __call__(self, trial: Trial) -> None:
        """Take a trial that was closed."""
        measured = trial.measurement
        if self._said or measured is None or min(trial.schedule.keep) == 1:
            return
        changes = changes_of(measured, self._span)
        if changes is None or changes.drop > self._tolerance:
            return
        self._said = True
        found = resolution(changes)
        known = self._name, self._tolerance, found.n, found.detectable, trial.number
        if found.resolves(self._tolerance):
            log.info("`%s` %g: %d samples tell drops from %.2g on from 0 (trial %d)", *known)
        else:
            log.warning(
                "`%s` %g is less than these %d samples tell from 0: %.2g, as scores change under "
                "trial %d; about %d samples would tell it: calibrate on more, or raise it",
                *known,
                resolving(changes, self._tolerance),
            )


def lucky(samples: int, loses: float = 0.5) -> float:
    """Probability that a schedule which loses this share of the answers loses none of these."""
    return float((1 - loses) ** samples)


def most_lost(samples: int, confidence: float = 0.95) -> float:
    """Upper bound of the share of answers that a schedule loses if it loses none of these."""
    return float(1 - (1 - confidence) ** (1 / samples))


def half_width(samples: int, changed: float) -> float:
    """Half of a paired 95 % interval around a drop of 0, where this share of scores moves by 1."""
    return 1.96 * math.sqrt(changed / samples)
