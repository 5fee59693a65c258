"""Fault points: where a search can be met."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from schedsearch.core.trial import Task
from schedsearch.store.terms import HEARTBEAT
from tests.chaos.witness import Witness
from tests.unit.execution.children import When, at_commits

Moment = Literal[
    "at the start",
    "in a task",
    "before a commit",
    "a commit sent and not answered",
    "after a commit",
    "before the commit of a heartbeat",
    "after the commit of a heartbeat",
    "drawn by seed",
]
BEFORE: Moment = "before a commit"
SENT: Moment = "a commit sent and not answered"
AFTER: Moment = "after a commit"
TASK: Moment = "in a task"
START: Moment = "at the start"
SEED: Moment = "drawn by seed"
BEAT = 0.02  # seconds, where a heartbeat is waited for


@dataclass(frozen=True)
class Point:
    """A moment in the life of a coordinator.

    Attributes:
        moment: What it is doing.
        number: Which of its commits, tasks, or beats, from 1; or the seed.
    """

    moment: Moment
    number: int = 1

    def __str__(self) -> str:
        return f"{self.moment}, {self.number}"


def freeze(witness: Witness, point: Point) -> None:
    """Halt this process until it is woken."""
    witness.say("reached", str(point))
    # To this very thread: it runs no instruction more, where the process is told sometime.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


@contextmanager
def commits(act: Callable[[When, int, bool], None]) -> Iterator[None]:
    """Call `act` at each commit, with its number, and whether it is a heartbeat's.

    Those of the heartbeat are counted apart: when they come is a matter of time.
    """
    count = {True: 0, False: 0}

    def observe(when: When, _number: int) -> None:
        beats = threading.current_thread() is not threading.main_thread()
        count[beats] += when == "before"
        act(when, count[beats], beats)

    with at_commits(observe):
        yield


@contextmanager
def freezing(witness: Witness, point: Point | None) -> Iterator[Callable[[Task], None]]:
    """Freeze at the point; what it gives has to be called in each task."""
    tasks, beats = 0, point is not None and "heartbeat" in point.moment
    if beats:
        os.environ[HEARTBEAT] = str(BEAT)

    def at_commit(when: When, number: int, beats: bool) -> None:
        moment = f"{when} {'the commit of a heartbeat' if beats else 'a commit'}"
        if point and (point.moment, point.number) == (moment, number):
            freeze(witness, point)

    def in_task(_task: Task) -> None:
        nonlocal tasks
        tasks += 1
        if point == Point(TASK, tasks):
            freeze(witness, point)
        if beats:
            time.sleep(2 * BEAT)

    if point and point.moment == START:
        freeze(witness, point)
    with commits(at_commit):
        yield in_task
