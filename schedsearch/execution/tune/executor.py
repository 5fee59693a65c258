"""An executor whose workers are trials of Ray Tune."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from schedsearch.core.trial import Task
from schedsearch.errors import RunError
from schedsearch.execution.cluster.connection import connect, leave
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executor import Outcome, Ticket, Worker
from schedsearch.execution.executors.ray import RayExecutor
from schedsearch.execution.heartbeat import StopStudy
from schedsearch.execution.scoring import NO_TRIAL
from schedsearch.execution.tune.desk import Decided, Desk

_TICK = 0.5
"""Seconds after which whoever waits for a task looks whether the executor is closed."""

_PATIENCE = 30.0
"""Seconds that whoever closes the executor waits for the search to put its trials back."""

_TASKS = 4
"""For each trial at once; with two of them a trial leaves room for the next."""


class TuneExecutor:
    """Has tasks evaluated by what `study_trainable` makes, as soon as Tune runs it.

    A worker besides those of Tune answers what is asked of the study itself, once something is, on
    the same kind of device. By Ray's count it needs next to no CPU.

    Args:
        open_worker: Makes a worker; it travels to each node.
        options: Of the worker besides; default: next to no CPU, and a GPU where there are GPUs.
        at_once: Trials of Tune that the cluster has room for, as far as is known.

    Attributes:
        open_worker: As above.
        desk: The actor that hands out tasks.
        search: The thread of the search, where it is none that closes the executor.

    Raises:
        RunError: The cluster cannot be joined.
    """

    def __init__(
        self,
        open_worker: Callable[[], Worker],
        options: ClusterOptions | None = None,
        at_once: int = 1,
    ) -> None:
        self.open_worker = open_worker
        self._options = options or ClusterOptions(workers=1, cpus_per_worker=0.01)
        connect(self._options.address)
        self.desk: Any = ray.remote(num_cpus=0)(Desk).remote()
        self.search: threading.Thread | None = None
        self._at_once = at_once
        self._open: set[int] = set()
        self._free: SimpleQueue[int] = SimpleQueue()
        self._closed = False
        self._outcome: Any = None

    @property
    def slots(self) -> int:
        """Tasks that are worth submitting ahead."""
        return _TASKS * self._at_once

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task; of a trial that Tune does not know yet, Tune will hear."""
        if ticket.trial != NO_TRIAL:
            self.decide(NO_TRIAL, {})  # keep-all is needed before all trials, and known now
        self.desk.submit.remote(ticket, task)
        if ticket.trial not in self._open:
            self._open.add(ticket.trial)
            self._free.put(ticket.trial)

    def next(self) -> Outcome:
        """Wait for a task.

        Raises:
            StopStudy: The executor has been closed meanwhile.
        """
        self._outcome = self._outcome or self.desk.outcome.remote()
        while not self._closed:
            try:
                found: Outcome = ray.get(self._outcome, timeout=_TICK)
            except GetTimeoutError:
                continue
            self._outcome = None
            return found
        raise StopStudy("Tune runs no more trials")

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Hand these tasks out no more."""
        self.desk.cancel.remote(set(tickets))

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Return what a method of the worker besides returns, or raise what it raises."""
        return self._answering.ask(method, *args, **named)

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Yield what a method of the worker besides returns for each arguments."""
        return self._answering.ask_each(method, calls)

    def tell(self, method: str, *_args: Any) -> None:
        """Refuse: Tune ends its trials and begins others as it likes.

        Raises:
            RunError: Always.
        """
        raise RunError(
            f"workers on Ray Tune cannot be told `{method}`; open the study with executor `ray`, "
            f"which goes on with the same store"
        )

    def close(self) -> None:
        """Let the workers go; whoever waits for a task is told."""
        if self._closed:
            return
        self._closed = True
        if self.search is not None:
            self.search.join(_PATIENCE)
        ray.kill(self.desk)
        if answering := self.__dict__.pop("_answering", None):
            answering.close()
        leave()

    @cached_property
    def _answering(self) -> RayExecutor:
        return RayExecutor(self.open_worker, self._options)

    # For the searcher

    def claim(self, seconds: float) -> int | None:
        """Number of a trial that nobody works on, for a trial of Tune; None after a while."""
        try:
            while (trial := self._free.get(timeout=seconds)) not in self._open:
                pass
        except Empty:
            return None
        return trial

    def lost(self, trial: int, who: str) -> None:
        """Note that a trial of Tune is over; where ours is not, another one will go on with it."""
        self.desk.lost.remote(who)
        if trial in self._open:
            self._free.put(trial)

    def decide(self, trial: int, decided: Decided) -> None:
        """Note that a trial is over."""
        if trial in self._open:
            self._open.discard(trial)
            self.desk.decide.remote(trial, decided)

    def dismiss(self) -> None:
        """End all trials of Tune: no task will come any more."""
        self._open.clear()
        self.desk.close.remote()
