"""A coordinator is frozen for longer than its lease lasts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from schedsearch.store.terms import HEARTBEAT, LEASE
from tests.chaos.faults.fault import BOTH, Fault, every_commit, every_task, some
from tests.chaos.outcome import Undisturbed
from tests.chaos.points import BEFORE, TASK, Point
from tests.chaos.scene import Coordinator, Kind, Scene, until
from tests.unit.execution.synthetic import STUDY

HAS_LOST = "this process has lost the lease of study"
LEASED = 3  # the commit that takes the lease
MIDDLE = 12  # a task


def points(kind: Kind, known: Undisturbed) -> Iterator[Point]:
    yield from some(every_task(kind, known), 5)
    moments = {one.moment: [] for one in every_commit(kind, known)}
    for one in every_commit(kind, known):
        over = one.moment != BEFORE
        # The last commit gives the lease back; by the last but one it has finished as its holder.
        if LEASED < one.number + over < known.commits:
            moments[one.moment].append(one)
    if kind == "sqlite":
        del moments[BEFORE]  # the file stays locked, see docs/store.md
    for commits in moments.values():
        yield from some(commits, 4)


@contextmanager
def short_leases() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (HEARTBEAT, LEASE)}
    os.environ |= {HEARTBEAT: "0.2", LEASE: "0.8"}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def frozen(scene: Scene, point: Point) -> Coordinator:
    """A coordinator whose lease has lapsed."""
    coordinator = scene.frozen(point)
    scene.fault()
    scene.pass_on()
    until(scene.lapsed, "the lease has lapsed")
    return coordinator


def replaced(scene: Scene, point: Point) -> None:
    """Another one takes over and finishes; then the first is woken."""
    with short_leases():
        first = frozen(scene, point)
        scene.start().must_finish()
        before = results(scene)
        first.wake()
        first.must_fail(HAS_LOST)
        assert results(scene) == before, "a coordinator without lease has changed trials"


def replaced_meanwhile(scene: Scene, point: Point) -> None:
    """Another one takes over, and the first is woken while that is at work."""
    with short_leases():
        first = frozen(scene, point)
    second = scene.frozen(Point(TASK, MIDDLE // 2))
    scene.fault()
    before = results(scene)
    first.wake()
    first.must_fail(HAS_LOST)
    assert results(scene) == before, "a coordinator without lease has changed trials"
    second.wake()
    second.must_finish()


def missed_by_nobody(scene: Scene, point: Point) -> None:
    """Nobody takes over, and it goes on."""
    with short_leases():
        coordinator = frozen(scene, point)
        coordinator.wake()
        coordinator.must_finish()


def results(scene: Scene) -> object:
    """All that only the holder of the lease may change."""
    with scene.store() as store:
        trials = store.trials(STUDY)
        return trials, [store.attempts(STUDY, one.number) for one in trials]


def middle(kind: Kind, known: Undisturbed) -> list[Point]:
    return every_task(kind, known)[MIDDLE : MIDDLE + 2]


FAULTS = (
    Fault("frozen, replaced, woken at the end", BOTH, points, replaced),
    Fault("frozen, replaced, woken in between", BOTH, middle, replaced_meanwhile),
    Fault("frozen, replaced by nobody", BOTH, middle, missed_by_nobody),
)
