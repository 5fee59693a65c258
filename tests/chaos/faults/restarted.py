"""The server is stopped while a search runs, and started again."""

import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

from tests.chaos.faults.fault import SERVER, Fault, every_sent, every_task, some
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import BEFORE, SENT, Point
from tests.chaos.scene import Kind, Scene, until

DOWN = 0.3  # seconds, while the search tries to go on


def in_tasks(kind: Kind, known: Undisturbed) -> list[Point]:
    return some(every_task(kind, known), 6)


def at_commits(kind: Kind, known: Undisturbed) -> list[Point]:
    sent = some(every_sent(kind, known)[1:], 6)  # behind the making of the tables
    return [Point(moment, one.number) for moment in (BEFORE, SENT) for one in sent]


def sent_ones(kind: Kind, known: Undisturbed) -> list[Point]:
    return some(every_sent(kind, known)[1:], 8)


def in_a_task(scene: Scene, point: Point, mode: str) -> None:
    coordinator = scene.frozen(point)
    scene.fault()
    restart(scene, mode, coordinator.wake)
    coordinator.must_finish()


def at_a_commit(scene: Scene, point: Point, mode: str) -> None:
    """The server goes away before it has the commit, or with the answer to it."""
    if point.moment == BEFORE:
        reached, meanwhile = scene.hold(point.number), scene.pass_on
    else:
        reached, meanwhile = cut_behind(scene, point.number), nothing
    coordinator = scene.start()
    until(reached.is_set, str(point))
    scene.fault()
    restart(scene, mode, meanwhile)
    coordinator.must_finish()


def at_a_commit_of_many(scene: Scene, point: Point) -> None:
    """The server crashes before it has the commit; before it is asked, others commit theirs."""
    coordinator = scene.frozen(point)
    scene.fault()
    restart(scene, "immediate", nothing)
    assert scene.server is not None
    for _ in range(5):
        scene.server.execute(f"CREATE TABLE t{uuid.uuid4().hex} AS SELECT 1")
    scene.pass_on()
    coordinator.wake()
    coordinator.must_finish()


def cut_behind(scene: Scene, number: int) -> threading.Event:
    """Let the proxy cut the commit of this number once the server has done it."""
    assert scene.proxy is not None
    reached = threading.Event()

    def cuts(commit: int) -> str:
        if commit != number:
            return ""
        reached.set()
        return "after"

    scene.proxy.cuts = cuts
    return reached


def restart(scene: Scene, mode: str, meanwhile: Callable[[], None]) -> None:
    assert scene.server is not None
    scene.server.stop(mode)
    meanwhile()
    time.sleep(DOWN)
    scene.server.start()


def nothing() -> None:
    """What happens while the server is down."""


FAULTS = (
    *(
        Fault(f"server restarted ({mode})", SERVER, points, partial(inflict, mode=mode))
        for mode in ("fast", "immediate")
        for points, inflict in ((in_tasks, in_a_task), (at_commits, at_a_commit))
    ),
    Fault("server crashed, others commit", SERVER, sent_ones, at_a_commit_of_many),
)
