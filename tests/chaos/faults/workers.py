"""Workers on a Ray cluster, their nodes and the coordinator's own come to harm."""

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args

from tests.chaos import cluster
from tests.chaos.cluster import Moment, Target, Trouble
from tests.chaos.faults.fault import FILE, Fault, every_commit, some
from tests.chaos.faults.frozen import HAS_LOST, short_leases
from tests.chaos.faults.rivals import race
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import AFTER, TASK, Point
from tests.chaos.scene import FINISHED, Kind, Scene, until

AT = (2, 9)  # tasks


def at_tasks(_kind: Kind, _known: Undisturbed) -> list[Point]:
    return [Point(TASK, number) for number in AT]


def at_one(_kind: Kind, _known: Undisturbed) -> list[Point]:
    return [Point(TASK, AT[-1])]


def harmed(scene: Scene, point: Point, target: Target, moment: Moment, how: int) -> None:
    """A worker or node is harmed at a task; the search goes on without."""
    cluster.nodes().refill()
    trouble = Trouble(scene.folder, target, moment, point.number, how)
    scene.start(executor=trouble).must_finish()
    assert trouble.done, "the fault did not happen"


def commits(kind: Kind, known: Undisturbed) -> list[Point]:
    return some(every_commit(kind, known), 8)


def coordinator_killed(scene: Scene, point: Point) -> None:
    cluster.nodes().refill()
    coordinator = scene.frozen(point, executor=Trouble(scene.folder))
    _settled(scene)
    scene.fault()
    coordinator.kill()
    scene.start(executor=Trouble(scene.folder)).must_finish()


def behind_one(_kind: Kind, known: Undisturbed) -> list[Point]:
    return [Point(AFTER, known.commits // 2)]


def coordinator_frozen(scene: Scene, point: Point) -> None:
    """It is frozen for longer than its lease, replaced on the same cluster, and woken."""
    cluster.nodes().refill()
    with short_leases():
        first = scene.frozen(point, executor=Trouble(scene.folder))
        scene.fault()
        until(scene.lapsed, "the lease has lapsed")
        scene.start(executor=Trouble(scene.folder)).must_finish()
        first.wake()
        first.must_fail(HAS_LOST)


def two_at_once(scene: Scene, _point: Point) -> None:
    cluster.nodes().refill()
    race(scene, 2, executor=Trouble(scene.folder, pause=0.1))


def drivers_node_gone(scene: Scene, point: Point) -> None:
    """Ray ends the coordinator, in the middle of its search, within some two seconds."""
    cluster.nodes().refill()
    coordinator = scene.start(executor=Trouble(scene.folder, pause=1.0))
    try:
        until(lambda: _stored(scene) >= point.number, "tasks are stored")
        scene.fault()
        assert not coordinator.ended, coordinator.message
        cluster.nodes().kill_drivers_node()
        assert coordinator.end() != FINISHED, "it was not ended with its node"
    finally:
        cluster.end()


def node_joins(scene: Scene, point: Point) -> None:
    """There is one node at first; the other joins, and the first one goes."""
    nodes = cluster.nodes()
    nodes.refill()
    nodes.remove()
    trouble = Trouble(scene.folder, pause=1.4)  # a node takes long where much is at work
    coordinator = scene.start(executor=trouble)
    until(lambda: _stored(scene) >= point.number, "tasks are stored")
    assert trouble.workers == 1
    nodes.add()
    until(lambda: trouble.workers == 2, "the new node has a worker")
    scene.fault()
    nodes.remove()
    coordinator.must_finish()


def _settled(scene: Scene) -> None:
    """Let workers, which go on while the coordinator is frozen, begin the task that they have."""
    known = -1
    while known != (known := len(scene.witness.events)):
        time.sleep(1.5)


def _stored(scene: Scene) -> int:
    return sum(one.what == "stored" for one in scene.witness.events)


def _harms() -> Iterator[Fault]:
    for target in ("worker", "node"):
        for moment in get_args(Moment):
            inflict = partial(harmed, target=target, moment=moment, how=signal.SIGKILL)
            yield Fault(f"Ray: {target} killed {moment}", FILE, at_tasks, inflict)
    stopped: Callable[..., None] = partial(harmed, moment="in its task", how=signal.SIGSTOP)
    yield Fault(
        "Ray: worker stopped in its task", FILE, at_tasks, partial(stopped, target="worker")
    )
    yield Fault("Ray: raylet stopped", FILE, at_one, partial(stopped, target="raylet"))


FAULTS = (
    *_harms(),
    Fault("Ray: coordinator killed", FILE, commits, coordinator_killed),
    Fault("Ray: coordinator frozen, replaced, woken", FILE, behind_one, coordinator_frozen),
    Fault("Ray: two coordinators at once", FILE, at_one, two_at_once),
    Fault("Ray: a node joins, another goes", FILE, at_one, node_joins),
    Fault("Ray: the coordinator's node gone", FILE, at_one, drivers_node_gone),
)
