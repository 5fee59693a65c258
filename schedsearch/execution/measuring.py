"""What becomes of a trial: measured, or stopped as soon as its other samples decide nothing."""

import math
from collections.abc import Sequence
from dataclasses import replace

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore, Trial, TrialState, least_drop
from schedsearch.errors import RunError
from schedsearch.execution.reading import Reading
from schedsearch.execution.scoring import EvaluationError, OnScores, Scoring
from schedsearch.samplers.sampler import Sampler


class Measuring:
    """Measures the trials of one run, and counts what that costs.

    Args:
        scoring: Scores schedules.
        sampler: Knows when a trial can be stopped.
    """

    def __init__(self, scoring: Scoring, sampler: Sampler) -> None:
        self._scoring = scoring
        self._sampler = sampler
        self._full: list[SampleScore] = []
        self._reading = Reading([], math.inf)

    @property
    def spent(self) -> float:
        """Work so far in full-forward equivalents; 0 where a full pass has no known cost."""
        full = self._scoring.subject.full_pass.flops
        return self._scoring.work.flops / full if full else 0.0

    def naive(self, trial: Trial, history: Sequence[Trial]) -> float:
        """What a closed trial would have cost without any saving; 0 if its schedule was known."""
        subject = self._scoring.subject
        former = [one for one in history[: trial.number] if one.state is not TrialState.FAIL]
        known = (trial.schedule.same_evaluation(one.schedule, subject.n_visions) for one in former)
        if trial.state is TrialState.FAIL or any(known):
            return 0.0
        return subject.costs(trial.schedule)[0]

    def measure(
        self, trial: Trial, history: Sequence[Trial], best: Trial | None, show: OnScores
    ) -> Trial:
        """Evaluate until the sampler knows enough; only a complete trial has a measurement.

        Args:
            trial: The running trial.
            history: All trials.
            best: The result so far, whose prefix the next trials will probably share.
            show: Called when there is progress.

        Raises:
            EvaluationError: The schedule cannot be evaluated.
        """
        subject, sampler = self._scoring.subject, self._sampler
        if not self._full:
            self._full = self._keep_all(trial, show)
            self._reading = self._former_reading(history)
        full, reading = self._full, self._reading
        shared, probes, drop = _shared(trial.schedule, best), reading.probes, -math.inf

        def stop(scores: Sequence[SampleScore]) -> bool:
            nonlocal drop
            drop = least_drop(full, scores, subject.greatest)
            return len(scores) < len(full) and sampler.hopeless(history, trial, drop)

        probed: list[SampleScore] = []
        if probes:
            probed = self._scoring.scores(trial.schedule, ids=probes, shared=shared)
        scores: list[SampleScore] = []
        if not stop(probed):
            scores = self._scoring.scores(
                trial.schedule,
                show,
                ids=reading.first(trial.samples),
                again=probes,
                shared=shared,
                behind=reading.gainful,
                stop=lambda read: stop(_union(probed, read)),
            )
        costs = subject.costs(trial.schedule)
        trial = replace(trial, read=len(scores))
        known = _union(probed, scores)
        rejected = stop(known)
        reading.learn(
            scores, costs[0], self._enough(reading, trial, history, scores) if rejected else 0
        )
        if rejected:
            reason = f"rejected by {len(known)} of {len(full)} samples: drop at least {drop:g}"
            return replace(trial, state=TrialState.PRUNED, reason=reason)
        if trial.samples is not None:
            reason = f"not rejected by {len(known)} of {len(full)} samples"
            return replace(trial, state=TrialState.SCREENED, reason=reason)
        measurement = Measurement.of(reading.calibration_order(scores), *costs, full)
        return replace(trial, state=TrialState.COMPLETE, measurement=measurement)

    def _keep_all(self, trial: Trial, show: OnScores) -> list[SampleScore]:
        """Scores of the full model, without which no other trial means anything."""
        try:
            return self._scoring.scores(self._scoring.subject.full, show)
        except EvaluationError as error:
            if min(trial.schedule.keep) == 1:
                raise
            raise RunError(
                f"keep-all cannot be evaluated: {error}; every comparison needs it: remove the "
                f"cause and run again"
            ) from None

    def _former_reading(self, history: Sequence[Trial]) -> Reading:
        """The order of reading as the closed trials have left it; their scores are stored."""
        subject = self._scoring.subject
        reading = Reading(self._full, subject.greatest)
        for trial in history:
            if trial.read:
                scores = self._scoring.scores(trial.schedule, ids=reading.order[: trial.read])
                rejected = trial.state is TrialState.PRUNED
                enough = self._enough(reading, trial, history, scores) if rejected else 0
                reading.learn(scores, subject.costs(trial.schedule)[0], enough)
        return reading

    def _enough(
        self,
        reading: Reading,
        trial: Trial,
        history: Sequence[Trial],
        scores: Sequence[SampleScore],
    ) -> int:
        """How many of the losers reject the trial, with all who have not lost; 0 if none do."""
        full, greatest = self._full, self._scoring.subject.greatest
        lost = reading.losers(scores)
        names = {one.sample_id for one in lost}
        others = [one for one in scores if one.sample_id not in names]
        for count in range(1, len(lost) + 1):
            drop = least_drop(full, [*others, *lost[:count]], greatest)
            if self._sampler.hopeless(history, trial, drop):
                return count
        return 0


def _union(probed: Sequence[SampleScore], read: Sequence[SampleScore]) -> list[SampleScore]:
    """Every sample once; probes are among those read, too."""
    return list({one.sample_id: one for one in [*probed, *read]}.values())


def _shared(schedule: Schedule, best: Trial | None) -> int:
    """Leading layers in which a schedule agrees with the result so far."""
    if best is None:
        return 0
    pairs = zip(schedule.keep, best.schedule.keep, strict=True)
    return next((layer for layer, (own, kept) in enumerate(pairs) if own != kept), 0)
