"""The coordinator is killed."""

from collections.abc import Iterator

from tests.chaos.faults.fault import BOTH, Fault, every_commit, every_task
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import Point
from tests.chaos.scene import Kind, Scene


def points(kind: Kind, known: Undisturbed) -> Iterator[Point]:
    yield from every_commit(kind, known)
    yield from every_task(kind, known)
    for number in (1, 4):
        yield Point("before the commit of a heartbeat", number)
        yield Point("after the commit of a heartbeat", number)


def killed(scene: Scene, point: Point) -> None:
    coordinator = scene.frozen(point)
    scene.fault()
    coordinator.kill()
    scene.pass_on()
    scene.settle()


FAULTS = (Fault("coordinator killed", BOTH, points, killed),)
