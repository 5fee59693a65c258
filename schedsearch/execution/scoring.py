"""Scores of a schedule: from the store where it knows them, from the executor where not."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.stint import Stint
from schedsearch.core.subject import Subject
from schedsearch.core.trial import SampleScore, Task, Work
from schedsearch.execution.executor import TASK_NUMBERS, Executor, Outcome, Ticket
from schedsearch.execution.heartbeat import Heartbeat
from schedsearch.execution.inquiry import Asked, EvaluationError, Inquiry, borders
from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.rescue import Scored
from schedsearch.store.store import Store

CHUNK = 64
"""Most samples that are read at once, and so in a task."""

_HELD = 100_000
"""Scores that are kept at hand for a store that gets lost: some 25 MB."""

OnScores = Callable[[int, int], None]
"""Called with different samples that have a score, and different samples that are asked."""

Stop = Callable[[Sequence[SampleScore]], bool]
"""Called with the scores of the samples read; says whether the others decide nothing."""

NO_TRIAL = -1


class Scoring:
    """Evaluates schedules on one subject; the same sample and counts twice only `again`.

    Args:
        study: The study that the evaluations are kept for.
        subject: What is evaluated.
        store: Knows and keeps scores.
        executor: Finds those that are missing.
        chunk: Most samples that are read at once, and so in a task.
        cuts: Numbers of samples after which a task always ends, so that the same samples share a
            task whether some or all are asked: a worker finds what it kept for them.
        concurrent_trials: How many trials share the executor. What is read at once is divided
            among the workers that each of them has, so that it can be decided sooner.

    Attributes:
        evaluated: Samples that were really evaluated, not found in the store.
        work: What that has cost.
        stints: Who worked for what belongs to no trial; whoever wants to know empties it before.
    """

    def __init__(
        self,
        study: str,
        subject: Subject,
        store: Store,
        executor: Executor,
        chunk: int = CHUNK,
        cuts: Sequence[int] = (),
        concurrent_trials: int = 1,
    ) -> None:
        self.subject = subject
        self.executor = executor
        self.evaluated = 0
        self.work = Work()
        self.stints: list[Stint] = []
        self._study = study
        self._store = store
        self._chunk = chunk
        self._cuts = tuple(cuts)
        self._concurrent_trials = concurrent_trials
        self._heartbeat = Heartbeat(store.check_present)
        self._contexts: dict[RankerSpec | None, tuple[int, str, Mapping[str, Any]]] = {}
        self._held: OrderedDict[tuple[str, EvaluationKey], Evaluation] = OrderedDict()
        self._aside: deque[Outcome] = deque()
        self._left: set[Ticket] = set()

    @property
    def held(self) -> list[Scored]:
        """The latest scores, by context."""
        found: dict[str, dict[EvaluationKey, Evaluation]] = {}
        for (digest, key), evaluation in self._held.items():
            found.setdefault(digest, {})[key] = evaluation
        return [
            Scored(digest, description, found.get(digest, {}))
            for _, digest, description in self._contexts.values()
        ]

    @property
    def tasks(self) -> int:
        """How many tasks of a trial are worked on at once."""
        return max(1, self.executor.slots // (2 * self._concurrent_trials))

    @contextmanager
    def beating(self, heartbeat: Heartbeat) -> Iterator[None]:
        """Have this heartbeat while tasks are at work, in place of one that minds the store."""
        usual, self._heartbeat = self._heartbeat, heartbeat
        try:
            yield
        finally:
            self._heartbeat = usual

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Hand out a task; one whose process has slept for long is told first what it missed.

        Raises:
            StoreLostError: The store is gone; or whatever else a heartbeat raises.
        """
        self._heartbeat.beat_if_due()
        self.executor.submit(ticket, task)

    def next(self) -> Outcome:
        """Wait for one of the tasks at work.

        Raises:
            StoreLostError: The store is gone, which is noticed while the task is at work; or
                whatever else a heartbeat raises.
        """
        return self._aside.popleft() if self._aside else self._wait()

    def keep(self, outcome: Outcome) -> None:
        """Store what was asked here for no trial, and is wanted no more: a score is a fact."""
        if outcome.ticket in self._left:
            self._left.discard(outcome.ticket)
            self.receive(outcome)

    def _wait(self) -> Outcome:
        self._heartbeat.beat_if_due()
        with self._heartbeat.at_work():
            return self.executor.next()

    def inquiry(
        self,
        schedule: Schedule,
        ids: Sequence[str] | None = None,
        *,
        again: Collection[str] = (),
        shared: int = 0,
        behind: int = 0,
        deciding: int = 0,
        beside: Sequence[Task] = (),
    ) -> Inquiry:
        """What is known of a schedule and what is missing.

        Args:
            schedule: What is evaluated.
            ids: Samples that are asked, in the order in which they are read; default: all, in
                calibration order.
            again: As in `Asked`.
            shared: As in `Task`.
            behind: Leading samples after which a task ends too, and the cuts are counted.
            deciding: As in `Asked`.
            beside: As in `Asked`.

        Raises:
            EvaluationError: The schedule is of another depth than the model.
        """
        subject = self.subject
        if schedule.layers != subject.shape.layers:
            raise EvaluationError(
                f"`keep` must have one ratio for each of {subject.shape.layers} decoder layers, "
                f"but got {schedule.layers}; use a schedule that was made for this model"
            )
        names = subject.ids if ids is None else ids
        cuts = [behind, *(behind + cut for cut in self._cuts)]
        ends = [n for n in borders(len(subject.ids), self._chunk, cuts) if n < len(names)]
        asked = Asked(names, [*ends, len(names)], again, shared, self.tasks, deciding, beside)
        wanted = subject.evaluation_keys(schedule, names)
        known = self._store.scores(self._context(schedule)[0], wanted)
        return Inquiry(subject, schedule, asked, known)

    def receive(self, outcome: Outcome) -> tuple[str, Mapping[EvaluationKey, Evaluation]]:
        """Store the scores of a task, whosoever it was.

        Returns:
            Why they are not what the task asked for, empty where they are; and the scores.
        """
        self.work += outcome.work
        defect = self._defect(outcome)
        if defect:
            return defect, {}
        task = outcome.task
        keys = self.subject.evaluation_keys(task.schedule, task.sample_ids)
        found = {
            key: Evaluation(one.score, one.prediction)
            for key, one in zip(keys, outcome.scores, strict=True)
        }
        context, digest, _ = self._context(task.schedule)
        for key, evaluation in found.items():
            self._held.setdefault((digest, key), evaluation)  # the first stays, as in the store
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        self.evaluated += len(found)
        if self._store.add_scores(context, found) < len(found):
            found |= self._store.scores(context, found)  # of two scores the first stays
        return "", found

    def scores(
        self,
        schedule: Schedule,
        on_scores: OnScores = lambda _done, _all: None,
        *,
        ids: Sequence[str] | None = None,
        again: Collection[str] = (),
        shared: int = 0,
        behind: int = 0,
        stop: Stop = lambda _read: False,
    ) -> list[SampleScore]:
        """Score of every sample that is asked, in the order of the question.

        Each task's scores are stored when they arrive, so that whatever happens later costs at
        most the tasks at work.

        Args:
            schedule: What is evaluated.
            on_scores: Called when there is progress.
            ids: As for `inquiry`.
            again: As for `inquiry`.
            shared: As for `inquiry`.
            behind: As for `inquiry`.
            stop: Asked after every part, and once all that is asked is known.

        Returns:
            Fewer scores than asked where `stop` has ended it.

        Raises:
            EvaluationError: The schedule does not fit, an evaluation failed, or a score is not
                finite or above the metric's bound; scores of other tasks are stored.
        """
        self._heartbeat.beat_if_due()  # all may be known, and so it may be of many schedules
        inquiry = self.inquiry(schedule, ids, again=again, shared=shared, behind=behind)
        on_scores(*inquiry.progress)
        executor, flying = self.executor, set[Ticket]()
        try:
            while True:
                for _ in inquiry.read():
                    if stop(inquiry.scores):
                        return inquiry.scores
                if inquiry.done:
                    return inquiry.scores
                while inquiry.wanted and len(flying) < executor.slots:
                    ticket = Ticket(NO_TRIAL, 0, next(TASK_NUMBERS))
                    flying.add(ticket)
                    self.submit(ticket, inquiry.wanted.popleft())
                outcome = self._wait()
                if outcome.ticket not in flying:
                    if outcome.ticket.trial == NO_TRIAL:
                        self.keep(outcome)
                    else:  # somebody else waits for it
                        self._aside.append(outcome)
                    continue
                defect, found = self.receive(outcome)
                self.stints += [outcome.stint] if outcome.stint else []
                flying.discard(outcome.ticket)
                if defect:
                    inquiry.fail(outcome.task, defect)
                else:
                    inquiry.take(outcome.task, found)
                    on_scores(*inquiry.progress)
        finally:
            executor.cancel(flying)
            self._left |= flying

    def _context(self, schedule: Schedule) -> tuple[int, str, Mapping[str, Any]]:
        """What the scores of a schedule depend on besides the counts.

        Returns:
            Its number in the store, its digest, and what it is.
        """
        ranker = self.subject.ranker_of(schedule)
        if ranker not in self._contexts:
            digest = self.subject.context_digest(schedule)
            described = self.subject.context_of(schedule)
            number = self._store.context_id(self._study, digest, described)
            self._contexts[ranker] = number, digest, described
        return self._contexts[ranker]

    def _defect(self, outcome: Outcome) -> str:
        """Return why the scores are not what the task asked for; empty where they are."""
        if outcome.failure:
            return outcome.failure
        got = [one.sample_id for one in outcome.scores]
        for sample, asked in zip_longest(got, outcome.task.sample_ids):
            if sample != asked:
                return (
                    f"an evaluation must return one score per sample in the order of the task, but "
                    f"got {sample!r} where {asked!r} was asked; correct the evaluator"
                )
        for one in outcome.scores:
            if not math.isfinite(one.score):
                return (
                    f"the metric must be finite, but got {one.score} on sample {one.sample_id}; "
                    f"correct the metric or leave the sample out"
                )
            if one.score > self.subject.greatest:
                return (
                    f"no score of this metric may be above {self.subject.greatest:g}, but got "
                    f"{one.score} on sample {one.sample_id}; correct the metric or its bound"
                )
        return ""
