"""The connection to the server is cut at a commit."""

from collections.abc import Iterator

from tests.chaos.faults.fault import SERVER, Fault, every_sent, survives
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import BEFORE, SENT, Point
from tests.chaos.scene import Kind, Scene


def points(kind: Kind, known: Undisturbed) -> Iterator[Point]:
    for sent in every_sent(kind, known):
        yield from (Point(BEFORE, sent.number), sent)


def cut(scene: Scene, point: Point) -> None:
    def cuts(commit: int) -> str:
        return scene.fault() or at(point) if commit == point.number else ""

    assert scene.proxy is not None
    scene.proxy.cuts = cuts
    survives(scene, point)


def every(_kind: Kind, _known: Undisturbed) -> list[Point]:
    return [Point(BEFORE), Point(SENT)]


def cut_every(scene: Scene, point: Point) -> None:
    """Each commit: those that the server has, and of the others every first try."""
    with scene.store():
        pass  # the tables are made

    def cuts(commit: int) -> str:
        return scene.fault() or at(point) if point.moment == SENT or commit % 2 else ""

    assert scene.proxy is not None
    scene.proxy.cuts = cuts
    scene.start().must_finish()


def at(point: Point) -> str:
    """What the proxy calls it."""
    return "after" if point.moment == SENT else "before"


FAULTS = (
    Fault("connection cut", SERVER, points, cut),
    Fault("connection cut at every commit", SERVER, every, cut_every),
)
