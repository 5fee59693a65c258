"""Runs faults: each at each of its points, in a scene of its own."""

import time
from dataclasses import dataclass
from functools import cached_property

from tests.chaos.faults.fault import Fault
from tests.chaos.outcome import Outcome, Undisturbed, missing, outcome, undisturbed
from tests.chaos.points import SEED, Point
from tests.chaos.scene import FINISHED, Kind, Scene, new_scene
from tests.postgres import Server

RUNS = 5  # after a fault, until the search has to be finished


@dataclass(frozen=True)
class Record:
    """A fault, where it happened, and what became of the search.

    Attributes:
        fault: Its name.
        moment: Of its point.
        number: Of its point; the seed of a random one.
        store: `sqlite` or `postgresql`.
        outcome: What became of it.
        seconds: How long all of it took.
    """

    fault: str
    moment: str
    number: int
    store: Kind
    outcome: Outcome
    seconds: float

    @property
    def name(self) -> str:
        drawn = f" (seed {self.number})" if self.moment == SEED else ""
        return f"{self.fault}, {self.store}, {self.moment} {self.number}{drawn}"


class Stage:
    """A kind of store, and what an undisturbed search does in it.

    Args:
        kind: Of the store.
        server: Where that is, if it is no file.
    """

    def __init__(self, kind: Kind, server: Server | None = None) -> None:
        self.kind = kind
        self._server = server

    @cached_property
    def known(self) -> Undisturbed:
        with new_scene(self.kind, self._server) as scene:
            return undisturbed(scene)

    def points(self, fault: Fault) -> list[Point]:
        """Where the fault can happen here."""
        return list(fault.points(self.kind, self.known)) if self.kind in fault.stores else []

    def face(self, fault: Fault, point: Point) -> Record:
        """Search, have the fault happen, and search again until the end."""
        known, began = self.known, time.monotonic()
        with new_scene(self.kind, self._server) as scene:
            try:
                found = _faced(scene, known, fault, point)
            except AssertionError as broken:
                found = Outcome(0, 0, 0, 0, False, (str(broken),))
        seconds = round(time.monotonic() - began, 2)
        return Record(fault.name, point.moment, point.number, self.kind, found, seconds)


def _faced(scene: Scene, known: Undisturbed, fault: Fault, point: Point) -> Outcome:
    fault.inflict(scene, point)
    if scene.proxy:
        scene.proxy.cuts = lambda _number: ""
    lost, runs = 0, 0
    while FINISHED not in [one.end() for one in scene.started]:
        runs += 1
        assert runs <= RUNS, f"not finished after {RUNS} runs: {scene.started[-1].message}"
        if any(one.what in ("stored", "closed") for one in scene.witness.events):
            with scene.store() as store:
                lost = max(lost, missing(scene, store))
        scene.start()
    return outcome(scene, known, lost)
