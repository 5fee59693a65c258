"""Processes of their own that search, halt, and come to harm."""

import itertools
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import typer
from sqlalchemy.engine.default import DefaultDialect

from schedsearch.cli.edge import ended
from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import SchedsearchError
from schedsearch.store.terms import HEARTBEAT
from tests.unit.execution.synthetic import Place, evaluate

When = Literal["before", "after"]

PATIENCE = 60.0  # seconds until a child counts as hung

# Children are forked from a server that has imported everything and runs a single thread.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__, "tests.chaos.preloaded"])


@contextmanager
def child(target: Callable[..., None], *args: Any) -> Iterator[BaseProcess]:
    """A process that is gone at the end of the block; its environment is the present one."""
    process = _SERVER.Process(target=_call, args=(dict(os.environ), target, *args))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(PATIENCE)


def _call(environment: dict[str, str], target: Callable[..., None], *args: Any) -> None:
    os.environ.update(environment)  # the server's is as old as the server
    target(*args)


def pipe() -> tuple[Connection, Connection]:
    """Ends for the parent, to receive, and for the child, to send."""
    return _SERVER.Pipe(duplex=False)


def exit_code(target: Callable[..., None], *args: Any) -> int | None:
    """How a process ended that ran by itself."""
    with child(target, *args) as process:
        process.join(PATIENCE)
        return process.exitcode


def wait_for(*files: Path) -> None:
    """Return when all files exist."""
    end = time.monotonic() + PATIENCE
    while not all(file.exists() for file in files):
        assert time.monotonic() < end, f"{files} did not appear"
        time.sleep(0.002)


class Halting:
    """Evaluates, but halts within a task until a file appears.

    Args:
        task: Number of the task, from 1 in each process.
        folder: Where `reached-PID` says that a process has halted.
        go: Name of the file in there that lets it go on.
    """

    def __init__(self, task: int, folder: Path, go: str = "go") -> None:
        self._task = task
        self._folder = folder
        self._go = go
        self._count = 0

    def __call__(self, task: Task) -> Sequence[SampleScore]:
        self._count += 1
        if self._count == self._task:
            (self._folder / f"reached-{os.getpid()}").touch()
            wait_for(self._folder / self._go)
        return evaluate(task)


@contextmanager
def at_commits(act: Callable[[When, int], None]) -> Iterator[None]:
    """Call `act` before and after every commit of this process, with the number of the commit."""
    commit, numbers = DefaultDialect.do_commit, itertools.count(1)

    def observed(dialect: DefaultDialect, connection: Any) -> None:
        number = next(numbers)
        act("before", number)
        commit(dialect, connection)
        act("after", number)

    DefaultDialect.do_commit = observed
    try:
        yield
    finally:
        DefaultDialect.do_commit = commit


def die_at_commit(place: Place, when: When, number: int, options: dict[str, Any]) -> None:
    """Search, and be killed right before or after a commit."""

    def die(*moment: When | int) -> None:
        if moment == (when, number):
            os.kill(os.getpid(), signal.SIGKILL)

    with at_commits(die):
        place.search(**options)


def search_and_tell(place: Place, answer: Connection, options: dict[str, Any]) -> None:
    """Search, and tell how it ended."""
    try:
        told = place.search(**options).ending
    except SchedsearchError as error:
        told = f"{type(error).__name__}: {error}"
    answer.send(told)


def search_with_a_quick_heart(place: Place, answer: Connection, options: dict[str, Any]) -> None:
    """Search, with a heartbeat many times a second, and tell how it ended."""
    os.environ[HEARTBEAT] = "0.05"
    search_and_tell(place, answer, options)


def search_with_small_files(place: Place, answer: Connection, limit: int) -> None:
    """Search where no file may grow beyond so many bytes, and tell how it ended."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    search_and_tell(place, answer, {})


def search_and_stay(place: Place, options: dict[str, Any]) -> None:
    """Say that the search begins, search, and never end."""
    (place.folder / "begun").touch()
    place.search(**options)
    signal.pause()


def unhurried(task: Task) -> Sequence[SampleScore]:
    """Evaluate with some of the time that a model takes."""
    time.sleep(0.002)
    return evaluate(task)


def search_as_a_command(place: Place, errors: Path, options: dict[str, Any]) -> None:
    """Search as the command line does: an error becomes a message, here in a file, and a code."""
    app = typer.Typer()

    @app.command()
    def search() -> None:
        place.search(**options)

    with errors.open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.exit(ended(app, []))
