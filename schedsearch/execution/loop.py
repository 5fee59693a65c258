"""The coordinator: the one loop that asks a sampler, has its questions answered, and stores it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import RunError
from schedsearch.execution.scoring import EvaluationError, Scoring
from schedsearch.search.sampler import Sampler, Status
from schedsearch.store.lease import Lease
from schedsearch.store.store import Store

Ending = Literal["finished", "stopped", "interrupted", "trials", "timeout"]


@dataclass(frozen=True)
class Limits:
    """When a run ends before its search does; the next run goes on where it ended.

    Attributes:
        trials: Close at most this many trials in this run.
        seconds: Open no trial after this long.
    """

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Moment:
    """What a progress display shows.

    Attributes:
        status: Where the sampler stands.
        trial: The trial at work.
        done: Samples of it that have a score.
        samples: Samples in all.
        closed: Trials closed by this run.
        best: The result so far.
        seconds: Since the run began.
    """

    status: Status
    trial: Trial
    done: int
    samples: int
    closed: int
    best: Trial | None
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far; None while there is none, or no end in sight."""
        rounds = self.status.rounds_left
        if rounds is None or self.closed == 0:
            return None
        return max(0.0, rounds - self.done / self.samples) * self.seconds / self.closed


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        ending: Why: the search is finished, somebody stopped it, or a limit was reached.
        best: The trial whose schedule is the result so far.
        closed: Trials closed by this run.
        evaluated: Samples that were really evaluated, not found in the store.
        seconds: Duration.
    """

    ending: Ending
    best: Trial | None
    closed: int
    evaluated: int
    seconds: float


class StopStudy(Exception):  # noqa: N818 - a request, not an error
    """Raised by a callback to end the run after the present trial, without an error."""


OnTrial = Callable[[Trial], None]
OnMoment = Callable[[Moment], None]


def run_study(
    study: str,
    sampler: Sampler,
    scoring: Scoring,
    store: Store,
    *,
    limits: Limits | None = None,
    stop_on_failure: bool = True,
    on_trial: Sequence[OnTrial] = (),
    on_moment: OnMoment = lambda _moment: None,
) -> Run:
    """Search until the sampler is finished, a limit is reached, or somebody stops it.

    Everything is rebuilt from the store, so a run that was killed goes on where it was. Ctrl-C
    abandons the task that is running; its trial waits for the next run.

    Args:
        study: Name of a study in the store.
        sampler: Asks the questions.
        scoring: Answers them.
        store: Where trials are kept.
        limits: When to end early.
        stop_on_failure: Whether a failed trial ends the run with its reason.
        on_trial: Called with every trial that this run closes; may raise `StopStudy`.
        on_moment: Called whenever there is something to show.

    Raises:
        RunError: Another process coordinates the study; the lease was lost; or a trial failed
            and `stop_on_failure` is set.
        InputError: The sampler cannot go on with its settings.
    """
    with store.lease(study) as lease:
        loop = _Loop(study, sampler, scoring, store, lease, on_moment)
        ending = loop.run(limits or Limits(), stop_on_failure, on_trial)
        best = sampler.best(store.trials(study))
    return Run(ending, best, loop.closed, scoring.evaluated, loop.seconds)


class _Loop:
    """One run of one coordinator."""

    def __init__(
        self,
        study: str,
        sampler: Sampler,
        scoring: Scoring,
        store: Store,
        lease: Lease,
        on_moment: OnMoment,
    ) -> None:
        self.closed = 0
        self._study = study
        self._sampler = sampler
        self._scoring = scoring
        self._store = store
        self._lease = lease
        self._on_moment = on_moment
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def run(self, limits: Limits, stop_on_failure: bool, on_trial: Sequence[OnTrial]) -> Ending:
        try:
            while (trial := self._next_trial()) is not None:
                if limits.trials is not None and self.closed >= limits.trials:
                    return "trials"
                if limits.seconds is not None and self.seconds >= limits.seconds:
                    return "timeout"
                closed = self._answer(trial)
                for callback in on_trial:
                    callback(closed)
                if closed.state is TrialState.FAIL and stop_on_failure:
                    raise RunError(
                        f"trial {closed.number} failed: {closed.reason}; remove the cause and "
                        f"run again, what was found so far is stored"
                    )
        except StopStudy:
            return "stopped"
        except KeyboardInterrupt:
            return "interrupted"
        return "finished"

    def _next_trial(self) -> Trial | None:
        """The unfinished trial with the least number, after the sampler has asked."""
        history = self._store.trials(self._study)
        for question in self._sampler.ask(history):
            schedule = replace(question.schedule, target=self._scoring.subject.target)
            opened = self._store.open_trial(self._lease, question.params, schedule)
            history.append(opened)
        return next((trial for trial in history if not trial.state.finished), None)

    def _answer(self, trial: Trial) -> Trial:
        attempt = self._store.start_attempt(self._lease, trial.number)
        try:
            closed = self._measure(trial)
        except EvaluationError as error:
            closed = replace(trial, state=TrialState.FAIL, reason=str(error))
        except KeyboardInterrupt:
            self._store.stop_attempt(self._lease, trial.number, attempt, "interrupted")
            raise
        self._store.close_trial(self._lease, closed, attempt)
        self.closed += 1
        return closed

    def _measure(self, trial: Trial) -> Trial:
        subject = self._scoring.subject
        history = self._store.trials(self._study)
        status, best = self._sampler.status(history), self._sampler.best(history)

        def show(done: int, samples: int) -> None:
            moment = Moment(status, trial, done, samples, self.closed, best, self.seconds)
            self._on_moment(moment)

        full = self._scoring.scores(subject.full, show)
        scores = self._scoring.scores(trial.schedule, show)
        measurement = Measurement.of(scores, *subject.costs(trial.schedule), full)
        return replace(trial, state=TrialState.COMPLETE, measurement=measurement)
