"""About what schedules cost: for models, which have to know what many points are like."""

from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Self

from schedsearch.core.budget import Budget, Measure
from schedsearch.core.families import Family
from schedsearch.core.flops import Cost, DecoderShape
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError

_STEPS = 64
_SPARE = 5e-3


@dataclass(frozen=True)
class RoughCost:
    """What a schedule costs if each layer costs what it does where all layers keep the same.

    That is so for FLOPs, KV cache and mean keep ratio. A latency comes out a little too low, for
    only one drop is counted.

    Attributes:
        first: First layer that may process fewer vision tokens than there are.
        costs: Of the schedules that keep 0, 1/64, ... 1 from there on.
    """

    first: int
    costs: tuple[float, ...]

    @classmethod
    def of(cls, cost: Cost, layers: int, first: int) -> Self:
        """Return what is near a cost that takes long to compute."""
        uniform = ((1.0,) * first + (i / _STEPS,) * (layers - first) for i in range(_STEPS + 1))
        return cls(first, tuple(cost(Schedule(keep)) for keep in uniform))

    def __call__(self, schedule: Schedule) -> float:
        """Return about what a schedule costs."""
        return fmean([self._where_all_keep(keep) for keep in schedule.keep[self.first :]])

    def _where_all_keep(self, keep: float) -> float:
        below = min(int(keep * _STEPS), _STEPS - 1)
        low, high = self.costs[below], self.costs[below + 1]
        return low + (keep * _STEPS - below) * (high - low)


@lru_cache(maxsize=8192)
def rough_schedule(
    family: Family,
    cost: RoughCost,
    limit: float,
    shape: DecoderShape,
    point: tuple[tuple[str, float], ...],
) -> Schedule | None:
    """Return about the schedule of a point within a limit of the cost; None if it has none."""
    budget = Budget(Measure("rough cost", "rough cost", lambda *_: cost, shares=False), limit)
    try:
        return family.schedule(dict(point), budget, shape, (), spare=_SPARE)
    except InputError:
        return None
