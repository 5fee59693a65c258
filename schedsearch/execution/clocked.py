"""Workers whose time is counted, not spent: what a search takes on many of them, known at once."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from schedsearch.core.stint import Stint
from schedsearch.core.trial import Evaluated, Task, Work
from schedsearch.execution.dispatch import Dispatch
from schedsearch.execution.executor import Outcome, Ticket, Worker
from schedsearch.execution.pace import Pace

Seconds = Callable[[str, Task, Work], float]
"""What a task takes, from the name of its worker, the task, and what it has cost."""


class ClockedExecutor:
    """A pool of workers on a clock of its own, which stands still while they evaluate.

    Tasks are handed out as to real workers (`Dispatch`), so whoever waits for whom is the same.

    Args:
        open_worker: Makes one of the workers.
        workers: How many.
        seconds: What a task takes.
        clock: Seconds of whoever uses the pool, which count too.

    Attributes:
        now: Seconds since the beginning.
    """

    def __init__(
        self,
        open_worker: Callable[[], Worker],
        workers: int,
        seconds: Seconds,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.slots = 1 if workers == 1 else 2 * workers
        self.now = 0.0
        self._zero = datetime.now(UTC)
        self._seconds = seconds
        self._clock = clock
        self._since = clock()
        self._dispatch = Dispatch(Pace())
        self._workers = {f"worker {number}": open_worker() for number in range(workers)}
        self._ending: list[tuple[float, int, str, Evaluated, float]] = []
        self._begun = 0
        for name in self._workers:
            self._dispatch.join(name, name)

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""
        self._count()
        self._dispatch.submit(ticket, task, self.now)
        self._hand_out()

    def next(self) -> Outcome:
        """Go on to the end of a task."""
        self._count()
        while True:
            end, _, name, found, began = heappop(self._ending)
            self.now = max(self.now, end)
            outcome = self._dispatch.ended(name, found, self.now)
            self._hand_out()
            if outcome is not None:
                return replace(outcome, stint=Stint(name, self._at(began), self._at(end)))

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Hand these tasks out no more."""
        self._dispatch.cancel(tickets)

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Call a method of the first worker."""
        return getattr(next(iter(self._workers.values())), method)(*args, **named)

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Call a method of the first worker, once after the other."""
        return (self.ask(method, *args) for args in calls)

    def tell(self, method: str, *args: Any) -> None:
        """Call a method of all workers."""
        for worker in self._workers.values():
            getattr(worker, method)(*args)

    def close(self) -> None:
        """Nothing is held."""

    def _hand_out(self) -> None:
        for name, _, task in self._dispatch.hand_out(self.now):
            found = self._workers[name].evaluate(task)
            end = self.now + self._seconds(name, task, found.work)
            self._begun += 1
            heappush(self._ending, (end, self._begun, name, found, self.now))
        self._since = self._clock()

    def _at(self, seconds: float) -> datetime:
        return self._zero + timedelta(seconds=seconds)

    def _count(self) -> None:
        """Count what the user of the pool has spent since it was last here."""
        self.now += self._clock() - self._since
