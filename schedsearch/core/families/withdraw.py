"""Everything up to one layer, nothing from there on: VTW (Visual Tokens Withdrawal)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import Family
from schedsearch.core.space import Parameter


@dataclass(frozen=True)
class Withdraw(Family):
    """Layers before `layer` process everything, `layer` and those after it nothing.

    The budget determines `layer`, which is whole: the schedule costs up to one layer's vision
    tokens less than the budget. VTW's K is `layer`; the number of layers means that nothing leaves.
    """

    name: ClassVar[str] = "withdraw"

    def _free(self, _cuts: range) -> tuple[Parameter, ...]:
        return ()

    def _solved(self, cuts: range) -> Parameter:
        return Parameter("layer", cuts.start, cuts.stop, integer=True)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        return [float(layer < values["layer"]) for layer in cuts]
