"""How many calibration samples a search needs, and what a given number of them can tell."""

import logging
import math

from schedsearch.errors import DataError

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
    """Say that a tolerance above 0 is too small for a single lost answer.

    Args:
        name: Of the setting.
        tolerance: Its value.
        samples: In the calibration set.
        greatest: Score of a right answer; nothing is said where it is no positive number.
    """
    weight = greatest / samples
    if math.isfinite(greatest) and 0 < tolerance < weight:
        log.warning(
            "`%s` %g acts like 0: of %d samples one lost answer weighs %.2g; calibrate on "
            "at least %d samples, or raise it",
            name,
            tolerance,
            samples,
            weight,
            math.ceil(round(greatest / tolerance, 9)),
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
