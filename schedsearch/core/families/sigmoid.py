"""P-Sigmoid: a falling sigmoid over depth (arXiv 2412.00556, Scenario II).

Reconstruction: the paper publishes curves, but not the formula.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import Family, depths
from schedsearch.core.space import Parameter

_SOFTEST, _STEEPEST = 1.0, 200.0
_LEAST = 1e-12


@dataclass(frozen=True)
class Sigmoid(Family):
    """The ratio falls from `amplitude` to `floor` x `amplitude`, half way at depth `midpoint`.

    keep(l) = min(1, amplitude * (floor + (1 - floor) / (1 + exp(steepness * (x(l) - midpoint)))))
    from `first` on, where x is the depth of layer l: 0 at `first`, 1 at the last layer. Steepness 1
    is nearly a straight line, 200 a step within one layer. The budget determines `amplitude`, from
    no vision token at all to all of them everywhere, so every point of the space reaches every
    feasible budget. Above 1 the curve is cut off at 1.
    """

    name: ClassVar[str] = "sigmoid"

    def _free(self, _cuts: range) -> tuple[Parameter, ...]:
        return (
            Parameter("steepness", _SOFTEST, _STEEPEST, log=True),
            Parameter("midpoint", 0.0, 1.0),
            Parameter("floor", 0.0, 1.0),
        )

    def _solved(self, _cuts: range) -> Parameter:
        # From no token of a million to the tail of the steepest curve lifted to 1.
        return Parameter("amplitude", _LEAST, 1 + math.exp(_STEEPEST), log=True)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        steepness, midpoint, floor = values["steepness"], values["midpoint"], values["floor"]
        falls = [1 / (1 + math.exp(steepness * (depth - midpoint))) for depth in depths(cuts)]
        return [min(1.0, values["amplitude"] * (floor + (1 - floor) * fall)) for fall in falls]


@dataclass(frozen=True)
class Logistic(Sigmoid):
    """`Sigmoid` with floor 0: the falling logistic A / (1 + exp(k (l - x0))), cut off at 1."""

    name: ClassVar[str] = "logistic"

    def _free(self, cuts: range) -> tuple[Parameter, ...]:
        steepness, midpoint, _ = super()._free(cuts)
        return (steepness, midpoint)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        return super()._curve({**values, "floor": 0.0}, cuts)
