"""Executors: where evaluation runs. They take small tasks and give back scores."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import SchedsearchError

Evaluate = Callable[[Task], Sequence[SampleScore]]


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its scores, in the order of the task, or why there are none."""

    task: Task
    scores: tuple[SampleScore, ...] = ()
    failure: str = ""


class Executor(Protocol):
    """Evaluates tasks, several at a time where it has the means."""

    @property
    def slots(self) -> int:
        """How many tasks are worth submitting ahead of their results."""

    def submit(self, task: Task) -> None:
        """Queue a task."""

    def next(self) -> Outcome:
        """Wait for one of the submitted tasks; each is returned once.

        A `SchedsearchError` of the evaluation comes back as `failure`. Anything else that it
        raises is a defect and comes through: it says nothing about the schedule.
        """

    def cancel(self) -> None:
        """Forget tasks that were submitted and not returned."""


class LocalExecutor:
    """Evaluates one task after the other in this process.

    Args:
        evaluate: Returns one score per sample, in the order of the task.
    """

    slots = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._queue: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append(task)

    def next(self) -> Outcome:
        """Evaluate the oldest queued task."""
        task = self._queue.popleft()
        try:
            return Outcome(task, tuple(self._evaluate(task)))
        except SchedsearchError as error:
            return Outcome(task, failure=str(error) or type(error).__name__)

    def cancel(self) -> None:
        """Empty the queue."""
        self._queue.clear()
