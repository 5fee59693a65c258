"""The coordinator: the one loop that asks a sampler, has its questions answered, and stores it."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from schedsearch.core.progress import Progress
from schedsearch.core.stint import Stint, by_worker
from schedsearch.core.trial import Effort, Trial, TrialState, Work
from schedsearch.errors import RunError, SchedsearchError
from schedsearch.execution.executor import TASK_NUMBERS, Outcome, Ticket
from schedsearch.execution.heartbeat import Heartbeat, StopStudy
from schedsearch.execution.inquiry import EvaluationError
from schedsearch.execution.measuring import Measuring, TrialRun
from schedsearch.execution.moment import Moment
from schedsearch.execution.pulse import Pulse
from schedsearch.execution.scoring import NO_TRIAL, Scoring
from schedsearch.samplers.sampler import Sampler, Status
from schedsearch.store.lease import Lease, LeaseLostError
from schedsearch.store.place import StoreLostError
from schedsearch.store.rescue import Held
from schedsearch.store.store import Store

log = logging.getLogger(__name__)

Ending = Literal["finished", "stopped", "paused", "interrupted", "trials", "timeout"]


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
class Run:
    """How a run ended.

    Attributes:
        ending: Why: the search is finished, somebody stopped or paused it, or a limit was reached.
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

    Everything is rebuilt from the store, so a run that was killed goes on where it was. As many
    trials are at work as the sampler asks at once; each is closed as soon as it is decided. Ctrl-C
    abandons the tasks that are running; their trials wait for the next run. So does another
    process that wishes the study to stop; one that wishes it to pause lets these trials end.

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
    spec, history = store.spec(study), list[Trial]()
    try:
        with store.lease(study) as lease:
            loop = _Loop(study, sampler, scoring, store, lease, on_moment, history)
            with scoring.beating(loop.heartbeat):
                ending = loop.run(limits or Limits(), stop_on_failure, on_trial)
            effort = store.effort(study)
    except StoreLostError as error:
        raise store.rescue(error, Held(spec, history, scoring.held)) from error
    return Run(ending, loop.best, loop.closed, scoring.evaluated - evaluated, loop.seconds, effort)


@dataclass(eq=False)
class _AtWork:
    """A trial at work, the attempt at it, who worked for that and what it has cost.

    It is decided once it has a verdict.
    """

    trial: Trial
    attempt: int
    run: TrialRun | None = None
    verdict: Trial | None = None
    spent: Work = Work()
    stints: list[Stint] = field(default_factory=list)
    tickets: set[Ticket] = field(default_factory=set)


class _Loop:
    """One run of one coordinator; `history` is kept as it knows it."""

    def __init__(
        self,
        study: str,
        sampler: Sampler,
        scoring: Scoring,
        store: Store,
        lease: Lease,
        on_moment: OnMoment,
        history: list[Trial],
    ) -> None:
        self.closed = 0
        self.best: Trial | None = None
        self._pulse = Pulse(store, lease, self._progress)
        self.heartbeat = Heartbeat(self._pulse.beat)
        self._study = study
        self._sampler = sampler
        self._scoring = scoring
        self._store = store
        self._lease = lease
        self._on_moment = on_moment
        self._began = time.monotonic()
        self._asked_at_once = 1
        self._known_before = scoring.evaluated
        self._measuring = Measuring(scoring, sampler, sampler.concurrent_trials)
        self._history = history
        self._waiting: deque[Trial] = deque()
        self._status = Status("", 0)
        self._at_work: dict[int, _AtWork] = {}
        self._answered = True
        self._shown = -1, (0, 0)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def run(self, limits: Limits, stop_on_failure: bool, on_trial: Sequence[OnTrial]) -> Ending:
        try:
            while True:
                self._pulse.obey()
                if self._answered:
                    self._ask()
                self._hand_out(limits)
                if not self._at_work:
                    self._tell_end()
                    return (self._waiting and self._limit(limits)) or "finished"
                for closed in self._work():
                    log.info("trial %d %s %s", closed.number, closed.state, closed.reason)
                    with self.heartbeat.at_work(whole=True):
                        for callback in on_trial:
                            callback(closed)
                    if closed.state is TrialState.FAIL and stop_on_failure:
                        raise RunError(
                            f"trial {closed.number} failed: {closed.reason}; remove the cause and "
                            f"run again, what was found so far is stored"
                        )
                    self.heartbeat.beat_if_due()
        except StopStudy:
            self._abandon("interrupted")
            return "stopped"
        except KeyboardInterrupt:
            self._abandon("interrupted")
            return "interrupted"
        except BaseException as error:
            self._abandon(repr(error))
            raise

    def _tell_end(self) -> None:
        """Tell others where the run stands at its end: the last heartbeat may not know the result.

        What fails here fails for others who look; the result is stored.

        Raises:
            LeaseLostError: Somebody else coordinates the study by now.
        """
        try:
            self._store.beat(self._lease, self._progress())
        except LeaseLostError:
            raise
        except SchedsearchError as error:
            log.info("others may not see how this search has ended: %s", error)

    def _ask(self) -> None:
        """Take in what others have enqueued, and open what the sampler asks."""
        self._answered = False
        self._read_new()
        with self.heartbeat.at_work():
            questions = self._sampler.ask(self._history)
        self._pulse.obey()
        self._asked_at_once = max(self._asked_at_once, len(questions))
        for question in questions:
            schedule = replace(question.schedule, target=self._scoring.subject.target)
            opened = self._store.open_trial(
                self._lease, question.params, schedule, question.samples
            )
            if opened.number == len(self._history):
                self._know([opened])
            else:  # others have enqueued meanwhile
                self._read_new()
        with self.heartbeat.at_work():
            self._status = self._sampler.status(self._history)
            self.best = self._sampler.best(self._history)

    def _read_new(self) -> None:
        self._know(self._store.trials(self._study, after=len(self._history) - 1))

    def _know(self, new: Sequence[Trial]) -> None:
        self._history += new
        self._waiting += [trial for trial in new if not trial.state.finished]

    def _hand_out(self, limits: Limits) -> None:
        """Keep the executor busy: with the trials at work in their order, then with the next."""
        for work in self._at_work.values():
            self._submit(work)
        while self._free > 0 and not self._decided():
            trial = self._waiting[0] if self._waiting else None
            if trial is None or self._limit(limits) is not None:
                return
            if not self._measuring.may_begin(trial.number, self._history):
                return
            self._waiting.popleft()
            self._submit(self._begin(trial))

    def _submit(self, work: _AtWork) -> None:
        while work.run and self._free > 0 and (task := work.run.next_task()):
            ticket = Ticket(work.trial.number, work.attempt, next(TASK_NUMBERS))
            work.tickets.add(ticket)
            self._scoring.submit(ticket, task)

    @property
    def _free(self) -> int:
        """Tasks that the executor would take."""
        flying = sum(len(work.tickets) for work in self._at_work.values())
        return self._scoring.executor.slots - flying

    def _limit(self, limits: Limits) -> Ending | None:
        """What lets no further trial begin."""
        if self._pulse.wish == "pause":
            return "paused"
        if limits.trials is not None and self.closed + len(self._at_work) >= limits.trials:
            return "trials"
        if limits.seconds is not None and self.seconds >= limits.seconds:
            return "timeout"
        return None

    def _begin(self, trial: Trial) -> _AtWork:
        attempt = self._store.start_attempt(self._lease, trial.number)
        trial = replace(trial, state=TrialState.RUNNING)
        self._history[trial.number] = trial
        work = self._at_work[trial.number] = _AtWork(trial, attempt)
        before = self._scoring.work
        self._scoring.stints.clear()
        show = partial(self._show_keep_all, trial)
        try:
            work.run = self._measuring.begin(trial, self._history, self.best, show)
            work.verdict = work.run.verdict
        except EvaluationError as error:
            work.verdict = replace(trial, state=TrialState.FAIL, reason=str(error))
        work.spent += self._scoring.work - before
        work.stints += self._scoring.stints
        return work

    def _work(self) -> Iterator[Trial]:
        """Wait for a task, if nothing is decided yet, and close the trials that are."""
        self._show_first()
        if not self._decided():
            self._take(self._scoring.next())
            self._show_first()
        for work in self._decided():
            yield self._close(work)

    def _take(self, outcome: Outcome) -> None:
        if outcome.ticket.trial == NO_TRIAL:
            self._scoring.keep(outcome)
            return
        defect, found = self._scoring.receive(outcome)
        work = self._at_work.get(outcome.ticket.trial)
        if work is None or outcome.ticket not in work.tickets:
            return  # of a trial that was decided without it
        assert work.run is not None
        work.tickets.discard(outcome.ticket)
        work.spent += outcome.work
        work.stints += [outcome.stint] if outcome.stint else []
        try:
            if defect:
                work.run.fail(outcome.task, defect)
            else:
                work.run.take(outcome.task, found)
            work.verdict = work.run.verdict
        except EvaluationError as error:
            work.verdict = replace(work.trial, state=TrialState.FAIL, reason=str(error))

    def _decided(self) -> list[_AtWork]:
        return [work for work in self._at_work.values() if work.verdict]

    def _close(self, work: _AtWork) -> Trial:
        closed = work.verdict
        assert closed is not None
        self._scoring.executor.cancel(work.tickets)
        naive = self._measuring.closed(closed, work.run.scores if work.run else ())
        cost = Effort(self._passes(work.spent), naive)
        workers = by_worker(work.stints)
        stored = self._store.close_trial(self._lease, closed, work.attempt, cost, workers)
        assert stored, "nobody but the holder of the lease ends an attempt"
        del self._at_work[closed.number]
        self._history[closed.number] = closed
        self.closed += 1
        self._answered = True
        return closed

    def _abandon(self, reason: str) -> None:
        """Let the trials at work wait for the next run, as far as that can be told."""
        self._store.stop_waiting()
        for work in self._at_work.values():
            self._scoring.executor.cancel(work.tickets)
            with suppress(SchedsearchError):
                cost = Effort(self._passes(work.spent), 0.0)
                at, workers = (work.trial.number, work.attempt), by_worker(work.stints)
                self._store.stop_attempt(self._lease, *at, reason, cost, workers)

    def _passes(self, work: Work) -> float:
        """Work in full-forward equivalents; 0 where a full pass has no known cost."""
        full = self._scoring.subject.full_pass.flops
        return work.flops / full if full else 0.0

    def _show_first(self) -> None:
        """Show the trial that was asked first of those at work."""
        first = next(iter(self._at_work.values()))
        progress = first.run and first.run.progress
        if progress and (first.trial.number, progress) != self._shown:
            self._show(first.trial, *progress)

    def _show_keep_all(self, trial: Trial, done: int, samples: int) -> None:
        self._show(trial, done, samples)
        self._pulse.obey()

    def _show(self, trial: Trial, done: int, samples: int) -> None:
        self._shown = trial.number, (done, samples)
        with self.heartbeat.at_work(whole=True):
            self._on_moment(self._moment(trial, done, samples))

    def _progress(self) -> Progress:
        """Where the run stands now; asked while its own thread waits, or by that thread."""
        first = next((work.trial for work in self._at_work.values()), None)
        number, (done, samples) = self._shown
        if first is None or first.number != number:
            done = 0
        standing = self._moment(first, done, samples).progress
        return replace(standing, workers=getattr(self._scoring.executor, "seen", tuple)())

    def _moment(self, trial: Trial | None, done: int, samples: int) -> Moment:
        return Moment(
            self._status,
            trial,
            done,
            samples,
            self.closed,
            self._scoring.evaluated - self._known_before,
            self._trials_left(),
            self.best,
            self.seconds,
        )

    def _trials_left(self) -> int | None:
        rounds = self._status.rounds_left
        if rounds is None:
            return None
        opened = len(self._waiting) + len(self._at_work)
        return opened + max(0, rounds - 1) * self._asked_at_once
