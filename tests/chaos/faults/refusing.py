"""A store that is there, and refuses."""

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, text

from schedsearch.store.address import url_of
from tests.chaos.faults.fault import FILE, SERVER, Fault, every_task, some
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import Point
from tests.chaos.scene import Kind, Scene, until

REFUSES = 0.3  # seconds, while the search tries to go on
Hindrance = Callable[[Scene], AbstractContextManager[None]]


def points(kind: Kind, known: Undisturbed) -> list[Point]:
    return some(every_task(kind, known), 4)


def refused(scene: Scene, point: Point, hindrance: Hindrance, told: str) -> None:
    """Scores cannot be stored for a while; the search waits, and says what for."""
    coordinator = scene.frozen(point)
    scene.fault()
    with hindrance(scene):
        coordinator.wake()
        until(lambda: told in coordinator.message or coordinator.ended, f"{told!r} is said")
    coordinator.must_finish()


@contextmanager
def executed(scene: Scene, *statements: str) -> Iterator[None]:
    """What has been done to the store, in a transaction that is open as long as the block."""
    engine = create_engine(url_of(scene.store_url))
    with engine.begin() as connection:
        for one in statements:
            connection.execute(text(one))
        yield
    engine.dispose()


@contextmanager
def raising(scene: Scene, sqlstate: str) -> Iterator[None]:
    """The server raises this whenever a score is to be stored."""
    body = f"BEGIN RAISE SQLSTATE '{sqlstate}'; END"
    with executed(
        scene,
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON evaluation EXECUTE FUNCTION refuse()",
    ):
        pass
    yield
    with executed(scene, "DROP FUNCTION refuse CASCADE"):
        pass


def impatient(scene: Scene, point: Point) -> None:
    """The table is locked for longer than the address lets a statement take."""
    limited = f"{scene.search.store}%20-cstatement_timeout%3D250"
    scene.search = replace(scene.search, store=limited)
    lock = "LOCK TABLE evaluation IN ACCESS EXCLUSIVE MODE"
    refused(scene, point, lambda scene: executed(scene, lock), "gave up a statement")


@contextmanager
def crowded(scene: Scene) -> Iterator[None]:
    """Others have all connections of the server, and it ends those of the search."""
    assert scene.server is not None
    connect = partial(
        psycopg.connect, host=str(scene.server.folder), user="postgres", autocommit=True
    )
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> ALL(%s) AND backend_type = 'client backend'"
    )
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect())]
        while True:
            with suppress(psycopg.OperationalError):
                while True:
                    crowd.append(stack.enter_context(connect()))
            mine = [[one.info.backend_pid for one in crowd]]
            if not crowd[0].execute(end, mine).fetchall():
                break
        yield


@contextmanager
def read_only(scene: Scene) -> Iterator[None]:
    """The server takes no changes, like a standby."""
    assert scene.server is not None

    def set_to(value: str) -> None:
        scene.server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        scene.server.execute("SELECT pg_reload_conf()")
        scene.until_asked("SHOW default_transaction_read_only", value)

    set_to("on")
    try:
        yield
    finally:
        set_to("off")


def locked(scene: Scene, point: Point) -> None:
    """Another process writes to the file for a while."""
    coordinator = scene.frozen(point)
    with closing(sqlite3.connect(scene.store_url, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        scene.fault()
        coordinator.wake()
        time.sleep(REFUSES)
        other.execute("ROLLBACK")
    coordinator.must_finish()


def full(scene: Scene, point: Point) -> None:
    """No file of the search may grow any more."""
    coordinator = scene.frozen(point)
    grown = Path(f"{scene.store_url}-wal").stat().st_size
    resource.prlimit(coordinator.pid, resource.RLIMIT_FSIZE, (grown, resource.RLIM_INFINITY))
    scene.fault()
    coordinator.wake()
    coordinator.must_fail("what was stored before is safe")


def hindered(name: str, hindrance: Hindrance, told: str) -> Fault:
    return Fault(name, SERVER, points, partial(refused, hindrance=hindrance, told=told))


FAULTS = (
    hindered("disk full", partial(raising, sqlstate="53100"), "no space is left"),
    Fault("disk full", FILE, points, full),
    hindered("deadlock", partial(raising, sqlstate="40P01"), "stayed locked"),
    hindered("too many connections", crowded, "too many clients already"),
    hindered("server read-only", read_only, "takes no changes now"),
    Fault("statement timeout", SERVER, points, impatient),
    Fault("file locked", FILE, points, locked),
)
