"""What a fault is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.chaos.outcome import Undisturbed
from tests.chaos.points import AFTER, BEFORE, SENT, TASK, Point
from tests.chaos.scene import Kind, Scene

BOTH: tuple[Kind, ...] = ("sqlite", "postgresql")
SERVER: tuple[Kind, ...] = ("postgresql",)
FILE: tuple[Kind, ...] = ("sqlite",)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a search.

    Attributes:
        name: What it is, in a few words; one row of the table for each moment of its points.
        stores: Those to which it can happen.
        points: Where, in a search that takes as long as an undisturbed one.
        inflict: Starts a coordinator, and does the harm. It says when (`Scene.fault`), sees that
            whoever survives ends as it should, and leaves the rest to whoever runs it: the search
            is run again unless a coordinator has finished it.
    """

    name: str
    stores: tuple[Kind, ...]
    points: Callable[[Kind, Undisturbed], Iterable[Point]]
    inflict: Callable[[Scene, Point], None]


def survives(scene: Scene, point: Point) -> None:
    """A coordinator goes on to the end, whatever its server does at the point.

    But where the tables are made it waits for no server: that may be the wrong one.
    """
    coordinator = scene.start()
    if point.number > 1:
        coordinator.must_finish()
    else:
        coordinator.must_fail("run again to continue")


def every_commit(kind: Kind, known: Undisturbed) -> list[Point]:
    """Before, after, and on a server in between."""
    around = [Point(when, n) for when in (BEFORE, AFTER) for n in range(1, known.commits + 1)]
    return around + every_sent(kind, known)


def every_sent(_kind: Kind, known: Undisturbed) -> list[Point]:
    """On its way back from the server."""
    return [Point(SENT, n) for n in range(1, known.sent + 1)]


def every_task(_kind: Kind, known: Undisturbed) -> list[Point]:
    return [Point(TASK, n) for n in range(1, known.tasks + 1)]


def some(points: list[Point], count: int) -> list[Point]:
    """So many of them, from the first to the last."""
    steps = [round(n * (len(points) - 1) / max(1, count - 1)) for n in range(count)]
    return [points[n] for n in dict.fromkeys(steps)]
