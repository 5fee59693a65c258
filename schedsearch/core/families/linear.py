"""A straight line over depth, clipped to [0, 1]."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import build
from schedsearch.core.schedule import RankerSpec, Schedule, reducible_layers
from schedsearch.core.space import Parameter, Space

_STEEPEST = 2.0


@dataclass(frozen=True)
class Linear:
    """From `first` to the last layer the ratio falls by `fall`, and is `level` half way.

    keep(l) = clip(level + fall * (1/2 - x(l)), 0, 1), where x runs from 0 at `first` to 1 at the
    last layer. `level` may leave [0, 1], so that a line of any slope reaches every budget.
    """

    first: int = 2
    name: ClassVar[str] = "linear"
    solved: ClassVar[str] = "level"

    def space(self, layers: int) -> Space:
        """Return `fall`, 0 (uniform) to 2 (clipped at both ends), and `level`."""
        reducible_layers(self.first, layers)
        return Space(
            (
                Parameter("fall", 0.0, _STEEPEST),
                Parameter("level", -_STEEPEST / 2, 1 + _STEEPEST / 2),
            )
        )

    def schedule(
        self, params: Mapping[str, float], layers: int, ranker: RankerSpec | None = None
    ) -> Schedule:
        """Return the clipped line from `first` on."""
        values = self.space(layers).check(params)
        last = layers - 1 - self.first
        depths = [i / last if last else 0.5 for i in range(last + 1)]
        line = [values["level"] + values["fall"] * (0.5 - x) for x in depths]
        return build(self.first, [min(1.0, max(0.0, ratio)) for ratio in line], ranker)
