"""Where faults happen: a new store, the processes that search in it, and what is between them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from sqlalchemy import create_engine, text

from schedsearch.store import Store, open_store
from tests.chaos.coordinator import Search, subject
from tests.chaos.points import SENT, Point
from tests.chaos.witness import Witness
from tests.postgres import Server, new_database
from tests.proxy import Proxy, proxied
from tests.unit.execution.children import PATIENCE, child, search_as_a_command

Kind = Literal["sqlite", "postgresql"]
FINISHED, FAILED = 0, 1  # exit codes


def until(found: Callable[[], object], what: str) -> None:
    """Return when it is found.

    Raises:
        AssertionError: It was not, for too long.
    """
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.002)


@dataclass(frozen=True)
class Coordinator:
    """A process that searches.

    Attributes:
        process: The process.
        said: File with what it said to its user.
    """

    process: BaseProcess
    said: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def message(self) -> str:
        return " ".join(self.said.read_text().split())

    @property
    def frozen(self) -> bool:
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:  # it has ended
            return False
        # The second field is the program's name in parentheses: man 5 proc.
        return stat.rpartition(")")[2].split()[0] == "T"

    @property
    def ended(self) -> bool:
        return not self.process.is_alive()

    def freeze(self) -> bool:
        """Halt it; say whether it had not ended before."""
        try:
            os.kill(self.pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        until(lambda: self.frozen or self.ended, f"process {self.pid} is frozen")
        return self.frozen

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE)

    def end(self) -> int:
        """How it ended by itself."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        assert code is not None, f"process {self.pid} did not end; it said: {self.message}"
        return code

    def must_finish(self) -> None:
        code = self.end()
        assert code == FINISHED, f"process {self.pid} ended with {code}; it said: {self.message}"

    def must_fail(self, reason: str, code: int | None = FAILED) -> None:
        """See that it ended with this reason for its one message, and this code if one is given."""
        ended = self.end()
        told = self.message.count("error:") == 1 and "Traceback" not in self.message
        assert ended == (code or ended) != FINISHED and told and reason in self.message, (
            f"process {self.pid} was to fail with one message, that {reason!r}, but ended with "
            f"{ended}; it said: {self.message}"
        )


@dataclass
class Scene:
    """A store, from nothing on.

    Attributes:
        kind: Of the store.
        folder: Of log, messages, and the store if it is a file.
        store_url: Where the harness finds the store.
        search: What coordinators are started with; a server they reach through the proxy.
        server: Has the store, if it is no file.
        proxy: Is between coordinators and server.
    """

    kind: Kind
    folder: Path
    store_url: str
    search: Search
    stack: ExitStack
    server: Server | None = None
    proxy: Proxy | None = None
    started: list[Coordinator] = field(default_factory=list)
    _pass_on: Callable[[], None] = lambda: None

    @property
    def witness(self) -> Witness:
        return self.search.witness

    def store(self) -> Store:
        return open_store(self.store_url)

    def start(self, point: Point | None = None, **options: object) -> Coordinator:
        """A new coordinator, which freezes at a point, and has options of `Search.search`."""
        said = self.folder / f"said-{len(self.started)}"
        options = {"point": point} | options
        process = self.stack.enter_context(child(search_as_a_command, self.search, said, options))
        self.started.append(Coordinator(process, said))
        return self.started[-1]

    def frozen(self, point: Point, **options: object) -> Coordinator:
        """A new coordinator, with options of `Search.search`, that has frozen at a point."""
        found = self.frozen_or_ended(point, **options)
        assert found, f"{point} was not reached: {self.started[-1].message}"
        return found

    def frozen_or_ended(self, point: Point, **options: object) -> Coordinator | None:
        """A new coordinator that has frozen at a point; None if it has finished before."""
        if point.moment == SENT:
            reached = self.hold(point.number)
            coordinator = self.start(**options)
            until(lambda: reached.is_set() or coordinator.ended, str(point))
            frozen = reached.is_set() and coordinator.freeze()
        else:
            coordinator = self.start(point, **options)
            until(lambda: self._has_reached(coordinator) or coordinator.ended, str(point))
            until(lambda: coordinator.frozen or coordinator.ended, f"{point} freezes it")
            frozen = coordinator.frozen
        if frozen:
            return coordinator
        coordinator.must_finish()
        return None

    def hold(self, number: int) -> threading.Event:
        """Let the proxy keep the commit of this number to itself until `pass_on`.

        Returns:
            Is set once it has it.
        """
        assert self.proxy is not None
        reached, passed = threading.Event(), threading.Event()

        def held(commit: int) -> str:
            if commit == number:
                reached.set()
                passed.wait(PATIENCE)
            return ""

        self.proxy.cuts = held
        self._pass_on = passed.set
        return reached

    def pass_on(self) -> None:
        """Let the server have the commit that is held, if one is."""
        self._pass_on()

    def settle(self) -> None:
        """Wait until the server is done with all that killed coordinators have left it."""
        if self.server:
            query = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            self.until_asked(f"{query} AND backend_type = 'client backend'", 0)

    def until_asked(self, query: str, answer: object) -> None:
        until(lambda: self.ask(query) == answer, f"{query} gives {answer}")

    def ask(self, query: str) -> object:
        """A value from the server."""
        assert self.server is not None
        engine = create_engine(self.server.url)
        with engine.connect() as connection:
            found: object = connection.execute(text(query)).scalar_one()
        engine.dispose()
        return found

    def fault(self) -> None:
        """Note that harm is done now."""
        self.witness.say("fault")

    def lapsed(self) -> bool:
        """Whether nobody holds the study, or its holder's lease is over."""
        with self.store() as store:
            return not any(one.left for one in store.studies())

    def searches(self, coordinator: Coordinator) -> bool:
        """Whether it holds the study."""
        with self.store() as store:
            holders = [one.holder for one in store.studies()]
        return coordinator.pid in [holder.pid for holder in holders if holder]

    def _has_reached(self, coordinator: Coordinator) -> bool:
        return ("reached", coordinator.pid) in [one[:2] for one in self.witness.events]


@contextmanager
def new_scene(kind: Kind, server: Server | None = None) -> Iterator[Scene]:
    """A scene whose processes are gone at the end.

    Args:
        kind: Of the store.
        server: Where the store is, if it is no file.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="chaos")))
        witness = Witness(folder / "log", subject())
        if kind == "sqlite":
            file = str(folder / "runs.db")
            yield Scene(kind, folder, file, Search(file, witness), stack)
            return
        assert server is not None, "a server is needed for this store"
        url = new_database(server.url)
        proxy = stack.enter_context(proxied(server.folder))
        through = url.replace(f"host={server.folder}", f"host={proxy.folder}")
        yield Scene(kind, folder, url, Search(through, witness), stack, server, proxy)
