"""An executor whose only worker lives in a process of its own; for tests of what crosses over."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from schedsearch.core.trial import Task
from schedsearch.execution.executor import Outcome, Ticket, Worker


class Spawned:
    """One worker in another process, which is opened there.

    Args:
        open_worker: Is pickled.
    """

    slots = 1

    def __init__(self, open_worker: Callable[[], Worker]) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(open_worker, theirs), daemon=True)
        self._process.start()
        self._queue: deque[tuple[Ticket, Task]] = deque()

    def submit(self, ticket: Ticket, task: Task) -> None:
        self._queue.append((ticket, task))

    def next(self) -> Outcome:
        ticket, task = self._queue.popleft()
        found = self.ask("evaluate", task)
        return Outcome(ticket, task, found.scores, found.failure, found.work)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        self._queue = deque(queued for queued in self._queue if queued[0] not in tickets)

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        named.pop("on_progress", None)  # which cannot cross over
        self._end.send((method, args, named))
        found, error = self._end.recv()
        if error is not None:
            raise error
        return found

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        return (self.ask(method, *args) for args in calls)

    def tell(self, method: str, *args: Any) -> None:
        self.ask(method, *args)

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(open_worker: Callable[[], Worker], end: Connection) -> None:
    try:
        worker, refused = open_worker(), None
    except Exception as error:
        refused = error
    while True:
        method, args, named = end.recv()
        try:
            if refused is not None:
                raise refused
            end.send((getattr(worker, method)(*args, **named), None))
        except Exception as error:
            end.send((None, error))
