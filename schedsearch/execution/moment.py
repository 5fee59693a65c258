"""What a progress display shows, here and in other processes."""

from dataclasses import dataclass

from schedsearch.core.progress import Progress
from schedsearch.core.trial import Trial
from schedsearch.samplers.sampler import Status


@dataclass(frozen=True)
class Moment:
    """What a progress display shows.

    Attributes:
        status: Where the sampler stands.
        trial: The trial at work; None between two.
        done: Samples of it that have a score, then of keep-all if that is not known yet; those
            of equal content count once.
        samples: Samples in all, counted likewise.
        closed: Trials closed by this run.
        evaluated: Samples that this run has really evaluated.
        trials_left: Estimate of the trials still to close, this one included; None where no end
            is in sight.
        best: The result so far.
        seconds: Since the run began.
    """

    status: Status
    trial: Trial | None
    done: int
    samples: int
    closed: int
    evaluated: int
    trials_left: int | None
    best: Trial | None
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far; None while there is none, or no end in sight."""
        if self.trials_left is None or self.closed == 0:
            return None
        return (self.trials_left - self.done / max(1, self.samples)) * self.seconds / self.closed

    @property
    def progress(self) -> Progress:
        """The same for the store."""
        status, measured = self.status, self.best and self.best.measurement
        low, high = status.bracket or (None, None)
        return Progress(
            trial=None if self.trial is None else self.trial.number,
            done=self.done,
            samples=self.samples,
            phase=status.phase,
            layer=status.layer,
            low=low,
            high=high,
            closed=self.closed,
            trials_left=self.trials_left,
            evaluated=self.evaluated,
            seconds=self.seconds,
            pace=self.evaluated / self.seconds if self.seconds else 0.0,
            seconds_left=self.seconds_left,
            best_flops_ratio=measured.flops_ratio if measured else None,
            best_drop=measured.drop if measured else None,
        )
