"""Several faults in one search, drawn by a seed."""

import random
import time
from collections.abc import Iterator

from tests.chaos.faults.fault import BOTH, Fault
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import AFTER, BEFORE, SEED, SENT, TASK, Moment, Point
from tests.chaos.scene import FINISHED, Coordinator, Kind, Scene


def seeds(_kind: Kind, _known: Undisturbed) -> Iterator[Point]:
    for seed in range(10):
        yield Point(SEED, seed)


def several(scene: Scene, point: Point) -> None:
    """Kills, and restarts of the server, after each of which the search may go on by itself."""
    rng = random.Random(point.number)
    for _ in range(rng.randint(2, 4)):
        coordinator = met(scene, rng)
        if coordinator is None:
            return
        scene.fault()
        killed = not scene.server or rng.random() < 0.5
        if killed:
            coordinator.kill()
        if scene.server and (not killed or rng.random() < 0.5):
            scene.server.stop(rng.choice(["fast", "immediate"]))
            scene.server.start()
        scene.pass_on()
        if not killed:
            searches = scene.searches(coordinator)
            coordinator.wake()
            if searches or coordinator.end() == FINISHED:
                coordinator.must_finish()
                return
            coordinator.must_fail("see that its server answers", code=None)  # while it opened it
        scene.settle()


def met(scene: Scene, rng: random.Random) -> Coordinator | None:
    """A coordinator that is frozen at a point or at any time; None if it has finished before."""
    moments: list[Moment] = [BEFORE, AFTER, TASK, *([SENT] if scene.server else [])]
    point = Point(rng.choice(moments), rng.randint(1, 20))
    if point.moment == SENT:
        assert scene.proxy is not None
        point = Point(SENT, scene.proxy.commits + point.number)
    if rng.random() < 0.7:
        return scene.frozen_or_ended(point)
    coordinator = scene.start()
    time.sleep(rng.uniform(0, 0.3))
    return coordinator if coordinator.freeze() else None


FAULTS = (Fault("several of these", BOTH, seeds, several),)
