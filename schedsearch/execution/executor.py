"""Executors: where evaluation runs. They take small tasks and give back scores."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schedsearch.core.trial import SampleScore, Task, Work
from schedsearch.errors import SchedsearchError

Evaluate = Callable[[Task], Sequence[SampleScore]]


class Ticket(NamedTuple):
    """Whose a task is; unique among the tasks at work.

    Attributes:
        trial: Number of the trial; -1 for what belongs to none.
        attempt: Number of the attempt at it.
        task: Number of the task within the attempt.
    """

    trial: int
    attempt: int
    task: int


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its scores, in the order of the task, or why there are none.

    `work` is what it has cost, in either case.
    """

    ticket: Ticket
    task: Task
    scores: tuple[SampleScore, ...] = ()
    failure: str = ""
    work: Work = Work()


class Executor(Protocol):
    """Evaluates tasks, several at a time where it has the means."""

    @property
    def slots(self) -> int:
        """How many tasks are worth submitting ahead of their results."""

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""

    def next(self) -> Outcome:
        """Wait for one of the submitted tasks, in whatever order; each is returned once.

        A `SchedsearchError` of the evaluation comes back as `failure`. Anything else that it
        raises is a defect and comes through: it says nothing about the schedule.
        """

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Forget these tasks; one that is being evaluated may still be returned."""


class LocalExecutor:
    """Evaluates one task after the other in this process.

    Args:
        evaluate: Returns one score per sample, in the order of the task.
        work: Returns the work of all evaluations so far; default: none is counted.
    """

    slots = 1

    def __init__(self, evaluate: Evaluate, work: Callable[[], Work] = Work) -> None:
        self._evaluate = evaluate
        self._work = work
        self._queue: deque[tuple[Ticket, Task]] = deque()

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""
        self._queue.append((ticket, task))

    def next(self) -> Outcome:
        """Evaluate the oldest queued task."""
        (ticket, task), before = self._queue.popleft(), self._work()
        try:
            scores = tuple(self._evaluate(task))
        except SchedsearchError as error:
            failure = str(error) or type(error).__name__
            return Outcome(ticket, task, failure=failure, work=self._work() - before)
        return Outcome(ticket, task, scores, work=self._work() - before)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Take these tasks out of the queue."""
        self._queue = deque(queued for queued in self._queue if queued[0] not in tickets)
