"""Schedules around a curve, by few numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from schedsearch.core.space import Parameter, Space
from schedsearch.samplers.narrowing import Counts

_BLOCKS = 4
_FACTOR = 2.0


@dataclass(frozen=True)
class Around:
    """The curves that scale each of a few blocks of neighbouring layers by a factor of its own.

    A count c becomes (c + 1) * factor - 1, so that 0 can grow, and never exceeds that of the layer
    before. The blocks, 4 at most, are equal but for one layer; factors go from 1/2 to 2.

    Attributes:
        curve: Counts, never growing with depth.
        n_max: The most vision tokens of a sample.
        first: First layer that may process fewer.
        floor: The least count of any layer.
    """

    curve: Counts
    n_max: int
    first: int
    floor: int = 0

    @cached_property
    def space(self) -> Space:
        """A factor for each block, named for its first layer."""
        return Space(
            tuple(
                Parameter(f"scale_{layer}", 1 / _FACTOR, _FACTOR, log=True)
                for layer in self._begins
            )
        )

    @property
    def itself(self) -> dict[str, float]:
        """The point of the curve itself."""
        return dict.fromkeys((one.name for one in self.space.parameters), 1.0)

    def counts(self, point: Mapping[str, float]) -> Counts:
        """Return the counts that a point of the space stands for, shape (layers,)."""
        found = list(self.curve)
        ends = (*self._begins[1:], len(found))
        for factor, begin, end in zip(point.values(), self._begins, ends, strict=True):
            for layer in range(begin, end):
                count = round((self.curve[layer] + 1) * factor) - 1
                found[layer] = min(self.n_max, max(self.floor, count))
        return tuple(accumulate(found, min))

    @cached_property
    def _begins(self) -> tuple[int, ...]:
        layers = len(self.curve) - self.first
        blocks = min(_BLOCKS, layers)
        return tuple(self.first + layers * block // blocks for block in range(blocks))
