"""Evaluation in the process of the coordinator."""

import os
import platform
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from schedsearch.core.stint import Stint, process_name
from schedsearch.core.trial import Task
from schedsearch.execution.executor import Outcome, Ticket, Worker


class LocalExecutor:
    """One worker in this process, which evaluates one task after the other.

    Args:
        open_worker: Makes the worker, when there is something to do for it.
    """

    slots = 1

    def __init__(self, open_worker: Callable[[], Worker]) -> None:
        self._open = open_worker
        self._queue: deque[tuple[Ticket, Task]] = deque()

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""
        self._queue.append((ticket, task))

    def next(self) -> Outcome:
        """Evaluate the oldest queued task."""
        ticket, task = self._queue.popleft()
        worker, began = self._worker, datetime.now(UTC)
        found = worker.evaluate(task)
        stint = Stint.since(began, process_name(os.getpid(), platform.node()))
        return Outcome(ticket, task, found.scores, found.failure, found.work, stint)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Take these tasks out of the queue."""
        self._queue = deque(queued for queued in self._queue if queued[0] not in tickets)

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Call a method of the worker."""
        return getattr(self._worker, method)(*args, **named)

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Call a method of the worker, once after the other."""
        return (self.ask(method, *args) for args in calls)

    def tell(self, method: str, *args: Any) -> None:
        """Call a method of the worker."""
        self.ask(method, *args)

    def close(self) -> None:
        """Let go of the worker, and of what it has in memory."""
        self._queue.clear()
        self.__dict__.pop("_worker", None)

    @cached_property
    def _worker(self) -> Worker:
        return self._open()
