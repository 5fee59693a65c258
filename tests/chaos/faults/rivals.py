"""Several coordinators want the same study."""

from collections.abc import Iterator

from tests.chaos.faults.fault import BOTH, Fault, every_commit, some
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import AFTER, START, Point
from tests.chaos.scene import FINISHED, Coordinator, Kind, Scene

REFUSED = "is being searched by process"


def attempts(_kind: Kind, _known: Undisturbed) -> Iterator[Point]:
    """Who is first is a matter of chance."""
    for number in range(1, 5):
        yield Point(START, number)


def later(kind: Kind, known: Undisturbed) -> list[Point]:
    return some([one for one in every_commit(kind, known) if one.moment == AFTER], 5)


def at_once(scene: Scene, _point: Point) -> None:
    race(scene, 2)


def after_a_kill(scene: Scene, point: Point) -> None:
    first = scene.frozen(point)
    scene.fault()
    first.kill()
    scene.settle()
    race(scene, 3)


def race(scene: Scene, runners: int, **options: object) -> None:
    """One searches; each other one is refused, or finds that the search has ended.

    Args:
        scene: Where.
        runners: How many.
        options: Of each.
    """
    racing = [scene.frozen(Point(START), **options) for _ in range(runners)]
    scene.fault()
    for one in racing:
        one.wake()
    assert sum([ends(one) for one in racing]) >= 1, "nobody has finished"


def ends(coordinator: Coordinator) -> bool:
    """Whether it has finished."""
    if coordinator.end() == FINISHED:
        return True
    coordinator.must_fail(REFUSED)
    return False


FAULTS = (
    Fault("two coordinators at once", BOTH, attempts, at_once),
    Fault("three coordinators at once after one was killed", BOTH, later, after_a_kill),
)
