"""Random points and random schedules: the baselines that a search has to beat."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.layerwise import Layerwise, random_monotone
from schedsearch.samplers.budgeted import TRIES, Budgeted
from schedsearch.samplers.known import Known, Point


@dataclass(frozen=True, kw_only=True)
class RandomSearch(Budgeted):
    """Asks for uniformly random points of the family's space."""

    name: ClassVar[str] = "random"

    def _candidates(self, known: Known) -> Iterator[Point]:
        return self._at_random(known.number)


@dataclass(frozen=True, kw_only=True)
class RandomMonotone(Budgeted):
    """Asks for random schedules that never grow with depth, as `random_monotone` draws them."""

    family: Layerwise = Layerwise()

    name: ClassVar[str] = "random-monotone"

    def _candidates(self, known: Known) -> Iterator[Point]:
        rng = random.Random(f"{self.seed} {known.number}")
        for _ in range(TRIES):
            yield random_monotone(self.family, self.shape.layers, rng.getrandbits(32))
