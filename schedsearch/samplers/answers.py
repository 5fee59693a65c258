"""What the trials of a history answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.narrowing import Counts

_OPEN = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class Grid:
    """The schedules that a search can ask.

    Attributes:
        layers: Decoder layers of the model.
        n_max: Ratios are multiples of 1 / n_max.
        n_visions: Numbers of vision tokens in the calibration set; empty for `n_max` alone.
        ranker: Orders the tokens.
    """

    layers: int
    n_max: int
    n_visions: Counts
    ranker: RankerSpec

    def schedule(self, counts: Counts) -> Schedule:
        """Return the schedule with these counts at `n_max`."""
        return Schedule.from_counts(counts, self.n_max, self.ranker)

    def counts(self, schedule: Schedule) -> Counts | None:
        """Return the schedule's counts at `n_max`; None if it is no evaluation on the grid."""
        if schedule.ranker != self.ranker or schedule.layers != self.layers:
            return None
        nearest = tuple(round(keep * self.n_max) for keep in schedule.keep)
        if schedule.keep == tuple(count / self.n_max for count in nearest):
            return nearest
        counts = schedule.counts(self.n_max)
        return counts if schedule.same_evaluation(self.schedule(counts), self.n_visions) else None


class Answers:
    """The trials of a history by counts.

    Args:
        grid: Trials outside it answer nothing.
        history: The trials, in any order.
        failed: Whether a failed trial is an answer.
    """

    def __init__(self, grid: Grid, history: Sequence[Trial], failed: bool) -> None:
        self._trials: dict[Counts, list[Trial]] = {}
        for trial in history:
            if trial.state is not TrialState.FAIL or failed:
                counts = grid.counts(trial.schedule)
                if counts is not None:
                    self._trials.setdefault(counts, []).append(trial)

    def to(self, counts: Counts, samples: int | None) -> Trial | None:
        """Return the trial that answers whether `samples` samples reject the counts, or will.

        A complete trial answers for any number of samples, and so does a pruned one, which all
        samples would reject; a screened one for as many as it was asked, and for fewer; a failed
        one for as many, and for more. A retry says more than what failed before it, and the first
        of two equals counts.
        Whatever trials follow, an answer that has once been given stays.
        """
        least = _size(samples)
        found = [trial for trial in self._trials.get(counts, ()) if _answers(trial, least)]
        return min(found, key=_rank, default=None)

    def full(self, counts: Counts) -> Trial | None:
        """Return the complete trial on all samples."""
        trial = self.to(counts, None)
        return trial if trial and trial.state is TrialState.COMPLETE else None

    def decided(self) -> dict[Counts, Trial]:
        """Return, where all samples have decided, the trial that tells how: complete or pruned."""
        trials = {counts: self.to(counts, None) for counts in self._trials}
        decided = (TrialState.COMPLETE, TrialState.PRUNED)
        return {
            counts: trial for counts, trial in trials.items() if trial and trial.state in decided
        }


def _size(samples: int | None) -> float:
    return math.inf if samples is None else samples


def _answers(trial: Trial, least: float) -> bool:
    size = _size(trial.samples)
    if trial.state is TrialState.PRUNED:
        return True
    return size <= least if trial.state is TrialState.FAIL else size >= least


def _rank(trial: Trial) -> tuple[int, float, int]:
    """Order the trials that answer a question: the one that counts comes first."""
    known = (TrialState.SCREENED, TrialState.COMPLETE, TrialState.PRUNED)
    states = (*known, *_OPEN, TrialState.FAIL)
    return states.index(trial.state), _size(trial.samples), trial.number
