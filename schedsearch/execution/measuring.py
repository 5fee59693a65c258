"""What becomes of a trial: measured, or stopped as soon as its other samples decide nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore, Task, Trial, TrialState, least_drop
from schedsearch.errors import RunError
from schedsearch.execution.inquiry import EvaluationError, Inquiry
from schedsearch.execution.reading import Reading
from schedsearch.execution.scoring import OnScores, Scoring
from schedsearch.samplers.sampler import Sampler
from schedsearch.store.evaluations import Evaluation, EvaluationKey

_DECIDING = 2
"""Parts that most trials are decided by: those who lost before are read first."""


class TrialRun:
    """A trial at work: says which tasks it wants, takes what became of them, and decides.

    First the probes are read, then all that is asked. Where what is read at once is divided among
    several workers, the first that is asked is evaluated together with the probes: these are too
    few for so many. It evaluates and stores nothing.

    Args:
        trial: The trial.
        measuring: What is known of the study.
        history: All trials, by number.
        best: The result so far, whose prefix the next trials will probably share.

    Attributes:
        trial: The trial, as it was.
        verdict: The finished trial; None as long as it is at work.

    Raises:
        EvaluationError: The schedule cannot be evaluated; also by `take` and `fail`.
    """

    def __init__(
        self, trial: Trial, measuring: "Measuring", history: Sequence[Trial], best: Trial | None
    ) -> None:
        self.trial = trial
        self.verdict: Trial | None = None
        self._measuring = measuring
        self._history = history
        self._shared = _shared(trial.schedule, best)
        self._probes = measuring.probes
        self._probed = False
        self._probing: Inquiry | None = None
        self._main: Inquiry | None = None
        if self._probes:
            scoring = measuring.scoring
            self._probing = scoring.inquiry(trial.schedule, self._probes, shared=self._shared)
            if scoring.tasks > 1:
                self._ask(tuple(self._probing.wanted))
        self._go_on()

    def next_task(self) -> Task | None:
        """Take the first that will be read of the tasks that are at work nowhere yet."""
        for inquiry in () if self.verdict else self._inquiries:
            if inquiry.wanted:
                return inquiry.wanted.popleft()
        return None

    @property
    def scores(self) -> Sequence[SampleScore]:
        """Of the samples read, in reading order, besides the probes."""
        return self._main.scores if self._main else ()

    @property
    def progress(self) -> tuple[int, int] | None:
        """Different samples that have a score, and that are asked; None for the probes alone."""
        return self._main.progress if self._main else None

    def take(self, task: Task, found: Mapping[EvaluationKey, Evaluation]) -> None:
        """Add the scores of a task."""
        for inquiry in self._inquiries:
            inquiry.take(task, found)
        self._go_on()

    def fail(self, task: Task, reason: str) -> None:
        """Note that a task has no scores; the trial fails if it cannot be decided without."""
        for inquiry in self._inquiries:
            inquiry.fail(task, reason)
        self._go_on()

    @property
    def _inquiries(self) -> Sequence[Inquiry]:
        return [one for one in (self._probing, self._main) if one]

    def _ask(self, beside: Sequence[Task] = ()) -> Inquiry:
        trial, probes = self.trial, self._probes
        self._main = self._measuring.inquiry(trial, probes, self._shared, beside)
        return self._main

    def _go_on(self) -> None:
        if not self._probed:
            if self._probing:
                for _ in self._probing.read():
                    pass
                if not self._probing.done:
                    return
            self._probed = True
            if self._hopeless():
                self.verdict = self._decided()
                return
        main = self._main or self._ask()
        for _ in main.read():
            if self._hopeless():
                break
        else:
            if not main.done:
                return
        self.verdict = self._decided()

    def _hopeless(self) -> bool:
        known = _union(self._probing.scores if self._probing else (), self.scores)
        return self._measuring.hopeless(self._history, self.trial, known)

    def _decided(self) -> Trial:
        known = _union(self._probing.scores if self._probing else (), self.scores)
        return self._measuring.verdict(self.trial, self._history, self.scores, known)


class Measuring:
    """What the trials of one run have in common: keep-all, and the order in which they read.

    The order for a trial follows from those trials alone whose outcome could be known when it was
    asked, however many are at work and whichever is ready first: trial n may know those up to
    n - `at_once`.

    Args:
        scoring: Scores schedules.
        sampler: Knows when a trial can be stopped.
        at_once: How many trials may be at work.
    """

    def __init__(self, scoring: Scoring, sampler: Sampler, at_once: int) -> None:
        self.scoring = scoring
        self._sampler = sampler
        self._at_once = at_once
        self._full: list[SampleScore] = []
        self._reading = Reading([], math.inf)
        self._learnt = 0
        self._read: dict[int, Sequence[SampleScore]] = {}
        self._evaluated: set[object] = set()

    def may_begin(self, number: int, history: Sequence[Trial]) -> bool:
        """Say whether everything has ended that the trial of this number may know."""
        known = history[self._learnt : max(0, number + 1 - self._at_once)]
        return all(trial.state.finished for trial in known)

    def begin(
        self, trial: Trial, history: Sequence[Trial], best: Trial | None, show: OnScores
    ) -> TrialRun:
        """Take up a trial, where `may_begin` allows; keep-all is measured before the first.

        Args:
            trial: The trial.
            history: All trials, by number.
            best: The result so far.
            show: Called when there is progress with keep-all.

        Raises:
            EvaluationError: The schedule cannot be evaluated.
            RunError: Keep-all cannot.
        """
        if not self._full:
            self._full = self._keep_all(trial, show)
            self._reading = Reading(self._full, self.scoring.subject.greatest)
        self._learn(history, max(0, trial.number + 1 - self._at_once))
        return TrialRun(trial, self, history, best)

    def closed(self, trial: Trial, read: Sequence[SampleScore]) -> float:
        """Note how a finished trial was read; return what it would have cost without any saving.

        That is in full-forward equivalents, and 0 where its evaluation was known or has failed.
        """
        subject = self.scoring.subject
        self._read[trial.number] = read
        evaluation = subject.evaluation(trial.schedule)
        if trial.state is TrialState.FAIL or evaluation in self._evaluated:
            return 0.0
        self._evaluated.add(evaluation)
        return subject.costs(trial.schedule)[0]

    # What the runs ask

    @property
    def probes(self) -> tuple[str, ...]:
        """Samples to ask before all others."""
        return self._reading.probes

    def inquiry(
        self, trial: Trial, probes: Sequence[str], shared: int, beside: Sequence[Task]
    ) -> Inquiry:
        """All that a trial asks."""
        ids, behind = self._reading.first(trial.samples), self._reading.gainful
        return self.scoring.inquiry(
            trial.schedule,
            ids,
            again=probes,
            shared=shared,
            behind=behind,
            deciding=_DECIDING,
            beside=beside,
        )

    def hopeless(
        self, history: Sequence[Trial], trial: Trial, known: Sequence[SampleScore]
    ) -> bool:
        """Say whether the samples without a score decide nothing."""
        drop = self._least_drop(known, self._sampler.noise)
        return len(known) < len(self._full) and self._sampler.hopeless(history, trial, drop)

    def verdict(
        self,
        trial: Trial,
        history: Sequence[Trial],
        read: Sequence[SampleScore],
        known: Sequence[SampleScore],
    ) -> Trial:
        """The finished trial; only a complete one has a measurement."""
        trial = replace(trial, read=len(read))
        asked = f"{len(known)} of {len(self._full)} samples"
        if self.hopeless(history, trial, known):
            reason = f"rejected by {asked}: drop at least {self._least_drop(known):g}"
            return replace(trial, state=TrialState.PRUNED, reason=reason)
        if trial.samples is not None:
            reason, drop = f"not rejected by {asked}", self._reading.expected_drop(read)
            return replace(trial, state=TrialState.SCREENED, reason=reason, expected=drop)
        ordered = self._reading.calibration_order(read)
        costs = self.scoring.subject.costs(trial.schedule)
        measurement = Measurement.of(ordered, *costs, self._full)
        return replace(trial, state=TrialState.COMPLETE, measurement=measurement)

    def _least_drop(self, known: Sequence[SampleScore], noise: float = 0.0) -> float:
        return least_drop(self._full, known, self.scoring.subject.greatest, noise)

    def _keep_all(self, trial: Trial, show: OnScores) -> list[SampleScore]:
        """Scores of the full model, without which no other trial means anything."""
        try:
            return self.scoring.scores(self.scoring.subject.full, show)
        except EvaluationError as error:
            if min(trial.schedule.keep) == 1:
                raise
            raise RunError(
                f"keep-all cannot be evaluated: {error}; every comparison needs it: remove the "
                f"cause and run again"
            ) from None

    def _learn(self, history: Sequence[Trial], until: int) -> None:
        """Bring the order of reading to what the trials before number `until` have taught."""
        reading, subject = self._reading, self.scoring.subject
        for trial in history[self._learnt : until]:
            scores = self._read.pop(trial.number, None)
            if scores is None:  # of an earlier run; they are stored
                ids = reading.order[: trial.read]
                scores = self.scoring.scores(trial.schedule, ids=ids) if ids else ()
                if trial.state is not TrialState.FAIL:
                    self._evaluated.add(subject.evaluation(trial.schedule))
            if scores and not self._compares(history, trial):
                rejected = trial.state is TrialState.PRUNED
                enough = self._enough(trial, history, scores) if rejected else 0
                reading.learn(scores, subject.costs(trial.schedule)[0], enough)
        self._learnt = max(self._learnt, until)

    def _compares(self, history: Sequence[Trial], trial: Trial) -> bool:
        """Say whether a part was read for the sake of its drop alone, which nothing can reject.

        It may be of a ranker with which the search does not go on.
        """
        screened = trial.state is TrialState.SCREENED
        return screened and not self._sampler.hopeless(history, trial, math.inf)

    def _enough(self, trial: Trial, history: Sequence[Trial], scores: Sequence[SampleScore]) -> int:
        """How many of the losers reject the trial, with all who have not lost; 0 if none do."""
        lost = self._reading.losers(scores)
        names = {one.sample_id for one in lost}
        others = [one for one in scores if one.sample_id not in names]
        for count in range(1, len(lost) + 1):
            drop = self._least_drop([*others, *lost[:count]], self._sampler.noise)
            if self._sampler.hopeless(history, trial, drop):
                return count
        return 0


def _union(probed: Sequence[SampleScore], read: Sequence[SampleScore]) -> list[SampleScore]:
    """Every sample once; probes are among those read, too."""
    return list({one.sample_id: one for one in [*probed, *read]}.values())


def _shared(schedule: Schedule, best: Trial | None) -> int:
    """Leading layers in which a schedule agrees with the result so far."""
    return schedule.common_layers(best.schedule) if best else 0
