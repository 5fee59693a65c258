"""Ray for tests: one pool of workers for many of them, since a worker takes a second to open."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executor import Outcome, Ticket
from schedsearch.execution.executors.ray import RayExecutor
from schedsearch.execution.scoring import NO_TRIAL
from tests.unit.execution.synthetic import Evaluate, FunctionWorker

_APART = 1000
"""Trials of different tests are that far apart, so that late outcomes can be told."""


class Switched:
    """A worker whose function can be changed."""

    def __init__(self) -> None:
        self._worker = FunctionWorker(_nothing)

    def use(self, evaluate: Evaluate) -> None:
        self._worker = FunctionWorker(evaluate)

    def evaluate(self, task: Task) -> Evaluated:
        return self._worker.evaluate(task)


def _nothing(_task: Task) -> list[Any]:
    return []


class SharedPool:
    """Executors that use the same workers one after the other."""

    def __init__(self) -> None:
        self.executor = RayExecutor(Switched, ClusterOptions(workers=2))
        self.turn = 0

    def make(self, evaluate: Evaluate) -> "Turn":
        """An executor whose workers are this function, until the next one is made."""
        self.turn += 1
        self.executor.tell("use", evaluate)
        return Turn(self.executor, self.turn * _APART - NO_TRIAL)


class Turn:
    """The pool for one test: what an earlier one left at work is passed over."""

    def __init__(self, executor: RayExecutor, first: int) -> None:
        self._executor = executor
        self._first = first

    @property
    def slots(self) -> int:
        return self._executor.slots

    def submit(self, ticket: Ticket, task: Task) -> None:
        self._executor.submit(self._own(ticket), task)

    def next(self) -> Outcome:
        while (found := self._executor.next()).ticket.trial < self._first + NO_TRIAL:
            pass
        ticket = found.ticket._replace(trial=found.ticket.trial - self._first)
        return replace(found, ticket=ticket)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        self._executor.cancel([self._own(ticket) for ticket in tickets])

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        return self._executor.ask(method, *args, **named)

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        return self._executor.ask_each(method, calls)

    def tell(self, method: str, *args: Any) -> None:
        self._executor.tell(method, *args)

    def close(self) -> None:
        """The workers stay for the next test."""

    def _own(self, ticket: Ticket) -> Ticket:
        return ticket._replace(trial=ticket.trial + self._first)
