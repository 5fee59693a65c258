"""What is known where a question is chosen: points of a space, and what became of them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from schedsearch.core.pareto import full
from schedsearch.core.schedule import Schedule
from schedsearch.core.space import Space
from schedsearch.core.trial import Trial, TrialState

Point = dict[str, float]
Place = tuple[Point, Schedule]
"""A point and the schedule that it stands for."""

MOST_ENUMERATED = 1024


@dataclass(frozen=True)
class Observed:
    """What a model learns at one point.

    Attributes:
        point: Of the space.
        schedule: What it stands for.
        drop: Measured, or guessed.
        error: Standard error of the drop; 0 where unknown.
    """

    point: Point
    schedule: Schedule
    drop: float
    error: float

    @property
    def place(self) -> Place:
        """Where it was learnt."""
        return self.point, self.schedule


@dataclass(frozen=True)
class Known:
    """What a question depends on, besides the settings; in order of the trials' numbers.

    Attributes:
        number: Of the question.
        answered: Trials of the space that count as finished.
        pending: Trials of the space that count as open, and the questions asked together.
    """

    number: int
    answered: tuple[tuple[Point, Trial], ...]
    pending: tuple[Place, ...]

    @property
    def asked(self) -> int:
        """How many questions came before."""
        return len(self.answered) + len(self.pending)

    def measured(self) -> list[Observed]:
        """Return the points measured on all samples."""
        return [
            Observed(point, trial.schedule, found[1], found[0].drop_standard_error or 0.0)
            for point, trial in self.answered
            if (found := full(trial)) is not None
        ]

    def pruned(self) -> list[tuple[Point, Trial]]:
        """Return the points of which a bound alone is known."""
        return [pair for pair in self.answered if pair[1].state is TrialState.PRUNED]


def enumerated(space: Space) -> list[Point] | None:
    """Return all points of a space of few whole numbers; None of any other."""
    parameters = space.parameters
    if not all(each.integer for each in parameters):
        return None
    ranges = [range(int(each.low), int(each.high) + 1) for each in parameters]
    if math.prod(map(len, ranges)) > MOST_ENUMERATED:
        return None
    names = [each.name for each in parameters]
    return [dict(zip(names, values, strict=True)) for values in product(*ranges)]


def taken_by(trials: Iterable[Trial]) -> list[Schedule]:
    """Return the schedules of which nothing is left to ask, or will be."""
    over = (trial for trial in trials if trial.samples is None or trial.state is TrialState.PRUNED)
    return [trial.schedule for trial in over]


def next_number(trials: Iterable[Trial]) -> int:
    """Return the number of the trial after these."""
    return max((trial.number for trial in trials), default=-1) + 1
