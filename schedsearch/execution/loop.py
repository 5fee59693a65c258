"""The coordinator: the one loop that asks a sampler, has its questions answered, and stores it."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from schedsearch.core.trial import (
    Effort,
    Trial,
    TrialState,
)
from schedsearch.errors import RunError, SchedsearchError
from schedsearch.execution.measuring import Measuring
from schedsearch.execution.scoring import EvaluationError, Scoring
from schedsearch.samplers.sampler import Sampler, Status
from schedsearch.store.lease import Lease
from schedsearch.store.place import StoreLostError
from schedsearch.store.rescue import Held
from schedsearch.store.store import Store

log = logging.getLogger(__name__)

Ending = Literal["finished", "stopped", "interrupted", "trials", "timeout"]


@dataclass(frozen=True)
class Limits:
    """When a run ends before its search does; the next run goes on where it ended.

    Attributes:
        trials: Close at most this many trials in this run.
        seconds: Begin no trial after this long.
    """

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Moment:
    """What a progress display shows.

    Attributes:
        status: Where the sampler stands.
        trial: The trial at work.
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
    trial: Trial
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
        return (self.trials_left - self.done / self.samples) * self.seconds / self.closed


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        ending: Why: the search is finished, somebody stopped it, or a limit was reached.
        best: The trial whose schedule is the result so far.
        closed: Trials closed by this run.
        evaluated: Samples that were really evaluated, not found in the store.
        seconds: Duration.
        effort: What the study has cost so far, former runs included.
    """

    ending: Ending
    best: Trial | None
    closed: int
    evaluated: int
    seconds: float
    effort: Effort


class StopStudy(Exception):  # noqa: N818 - a request, not an error
    """Raised by a callback to end the run without an error; a trial at work waits again."""


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
        on_moment: Called whenever there is something to show; may raise `StopStudy`.

    Raises:
        RunError: Another process coordinates the study; the lease was lost; or a trial failed
            and `stop_on_failure` is set.
        StoreLostError: The store's file is gone; what was found is in the file it names.
        InputError: The sampler cannot go on with its settings.
    """
    evaluated = scoring.evaluated
    spec, trials = store.spec(study), store.trials(study)
    try:
        with store.lease(study) as lease:
            loop = _Loop(study, sampler, scoring, store, lease, on_moment, trials)
            ending = loop.run(limits or Limits(), stop_on_failure, on_trial)
            best = sampler.best(store.trials(study))
            effort = store.effort(study)
    except StoreLostError as error:
        raise store.rescue(error, Held(spec, trials, scoring.held)) from error
    return Run(ending, best, loop.closed, scoring.evaluated - evaluated, loop.seconds, effort)


class _Loop:
    """One run of one coordinator; `trials` is kept as it knows them."""

    def __init__(
        self,
        study: str,
        sampler: Sampler,
        scoring: Scoring,
        store: Store,
        lease: Lease,
        on_moment: OnMoment,
        trials: list[Trial],
    ) -> None:
        self.closed = 0
        self._trials = trials
        self._study = study
        self._sampler = sampler
        self._scoring = scoring
        self._store = store
        self._lease = lease
        self._on_moment = on_moment
        self._began = time.monotonic()
        self._at_once = 1
        self._known_before = scoring.evaluated
        self._measuring = Measuring(scoring, sampler)

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
                log.info("trial %d %s %s", closed.number, closed.state, closed.reason)
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
        questions = self._sampler.ask(history)
        self._at_once = max(self._at_once, len(questions))
        for question in questions:
            schedule = replace(question.schedule, target=self._scoring.subject.target)
            opened = self._store.open_trial(
                self._lease, question.params, schedule, question.samples
            )
            history.append(opened)
        self._trials[:] = history
        return next((trial for trial in history if not trial.state.finished), None)

    def _answer(self, trial: Trial) -> Trial:
        attempt = self._store.start_attempt(self._lease, trial.number)
        before = self._measuring.spent
        try:
            closed = self._measure(trial)
        except EvaluationError as error:
            closed = replace(trial, state=TrialState.FAIL, reason=str(error))
        except BaseException as error:
            # Whatever ends the run, the trial waits for the next one, as far as that can be told.
            with suppress(SchedsearchError):
                cost = Effort(self._measuring.spent - before, 0.0)
                self._store.stop_attempt(self._lease, trial.number, attempt, _reason(error), cost)
            raise
        self._trials[closed.number] = closed
        naive = self._measuring.naive(closed, self._store.trials(self._study))
        cost = Effort(self._measuring.spent - before, naive)
        stored = self._store.close_trial(self._lease, closed, attempt, cost)
        assert stored, "nobody but the holder of the lease ends an attempt"
        self.closed += 1
        return closed

    def _measure(self, trial: Trial) -> Trial:
        history = self._store.trials(self._study)
        status, best = self._sampler.status(history), self._sampler.best(history)
        left = self._trials_left(status, history)

        def show(done: int, samples: int) -> None:
            self._on_moment(
                Moment(
                    status,
                    trial,
                    done,
                    samples,
                    self.closed,
                    self._scoring.evaluated - self._known_before,
                    left,
                    best,
                    self.seconds,
                )
            )

        return self._measuring.measure(trial, history, best, show)

    def _trials_left(self, status: Status, history: Sequence[Trial]) -> int | None:
        if status.rounds_left is None:
            return None
        opened = sum(not trial.state.finished for trial in history)
        return opened + max(0, status.rounds_left - 1) * self._at_once


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, (KeyboardInterrupt, StopStudy)) else repr(error)
