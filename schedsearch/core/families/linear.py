"""A straight line over depth, clipped to [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import Family, depths
from schedsearch.core.space import Parameter

_STEEPEST = 2.0


@dataclass(frozen=True)
class Linear(Family):
    """From `first` to the last layer the ratio falls by `fall`, and is `level` half way.

    keep(l) = clip(level + fall * (1/2 - x(l)), 0, 1), where x is the depth of layer l. `fall` is 0
    (uniform) to 2 (clipped at both ends). `level` may leave [0, 1], so that a line of any slope
    reaches every budget.
    """

    name: ClassVar[str] = "linear"

    def _free(self, _cuts: range) -> tuple[Parameter, ...]:
        return (Parameter("fall", 0.0, _STEEPEST),)

    def _solved(self, _cuts: range) -> Parameter:
        return Parameter("level", -_STEEPEST / 2, 1 + _STEEPEST / 2)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        line = [values["level"] + values["fall"] * (0.5 - depth) for depth in depths(cuts)]
        return [min(1.0, max(0.0, ratio)) for ratio in line]
