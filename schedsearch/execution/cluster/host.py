"""What lives in an actor: one worker, and what it says to those who cannot see its screen."""

import logging
import os
import pickle
import platform
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import ray

from schedsearch.core.stint import process_name
from schedsearch.core.trial import Evaluated, Task
from schedsearch.errors import RunError, SchedsearchError
from schedsearch.execution.executor import Worker

_MOST_SAID = 100


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Attributes:
        value: What the method returned.
        error: What it raised, in place of that.
        said: Level and text of what was logged or warned of meanwhile.
    """

    value: Any = None
    error: Exception | None = None
    said: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a worker is.

    Attributes:
        node: Ray's id of the node.
        host: What its people call it.
        pid: Of the process.
    """

    node: str
    host: str
    pid: int

    @property
    def name(self) -> str:
        """What messages call it; several nodes may be on one host."""
        return f"{self.host} (node {self.node[:6]})"

    @property
    def process(self) -> str:
        """What its process is called; of several on one node."""
        return process_name(self.pid, self.name)


SIGNS = "signs"
"""Where `sign` runs while the worker works."""


class Host:
    """Opens a worker and calls its methods; made in an actor by `Crew`.

    Ray ends it with the process of its coordinator. One that is frozen, or cut off, would keep its
    workers from all others, also from whoever takes its study over: so they end without its signs.

    Args:
        silence: Seconds without a sign after which the coordinator counts as gone.
        hidden: Whether it may see no GPU: Ray leaves all to see to those that asked for none.
    """

    def __init__(self, silence: float, hidden: bool = False) -> None:
        if hidden:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # torch is not imported yet
        self._silence = silence
        self._heard = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()
        self._worker: Worker | None = None
        self._tells = False
        self._abandoned = 0
        self._said = _Said()
        for name in ("", "transformers"):  # which tells its parents nothing
            logging.getLogger(name).addHandler(self._said)
        logging.captureWarnings(True)
        warnings.simplefilter("default")

    @ray.method(concurrency_group=SIGNS)
    def sign(self) -> None:
        """Hear that the coordinator is there."""
        self._heard = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() < self._heard + self._silence:
            time.sleep(self._silence / 10)
        os._exit(1)

    def place(self) -> Place:
        """Where this is."""
        node = ray.get_runtime_context().get_node_id()
        return Place(node, platform.node() or "a host without a name", os.getpid())

    def begin(self, open_worker: Callable[[], Worker]) -> Answer:
        """Open the worker; what its scores depend on comes back, where it can say that."""

        def opened() -> Any:
            self._worker = open_worker()
            self._tells = "on_progress" in signature(self._worker.evaluate).parameters
            return getattr(self._worker, "identity", dict)()

        return self._answer(opened)

    def call(self, method: str, args: Sequence[Any], named: Mapping[str, Any]) -> Answer:
        """Call a method of the worker."""
        return self._answer(lambda: getattr(self._worker, method)(*args, **named))

    def evaluate(self, number: int, task: Task) -> Answer:
        """Have the worker evaluate a task, until `abandon` is called with its number."""

        def look(*_progress: int) -> None:
            if self._abandoned == number:
                raise _AbandonedError

        def work() -> Evaluated:
            worker: Any = self._worker
            told = {"on_progress": look} if self._tells else {}
            try:
                found: Evaluated = worker.evaluate(task, **told)
            except _AbandonedError:
                return Evaluated(failure="abandoned")
            return found

        return self._answer(work)

    @ray.method(concurrency_group=SIGNS)
    def abandon(self, number: int) -> None:
        """Hear that nobody waits for an evaluation any more."""
        self._abandoned = number

    def tell(self, method: str, args: Sequence[Any]) -> Answer:
        """Call a method of the worker with arguments that came by the object store."""
        return self.call(method, args, {})

    def _answer(self, work: Callable[[], Any]) -> Answer:
        value, error = None, None
        try:
            value = work()
        except Exception as raised:
            error = _portable(raised)
            if not isinstance(raised, SchedsearchError):
                error.add_note(f"in a worker on {self.place().name}:\n{traceback.format_exc()}")
        return Answer(value, error, self._said.taken())


class _AbandonedError(BaseException):
    """Nobody waits for the evaluation at work."""


class _Said(logging.Handler):
    """Keeps what would otherwise stand in a log file of the node."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if len(self._records) < _MOST_SAID:
                self._records.append((record.levelno, record.getMessage().strip()))
        except Exception:  # a library's record that does not fit its own arguments
            self.handleError(record)

    def taken(self) -> tuple[tuple[int, str], ...]:
        said = tuple(self._records)
        self._records.clear()
        return said


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be made again elsewhere."""
    try:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - of this process
        if isinstance(again, Exception):
            return error
    except Exception:  # noqa: S110 - whatever a class does that was not made for this
        pass
    return RunError(f"{type(error).__name__}: {error}")
