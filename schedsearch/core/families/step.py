"""Everything up to one layer, one ratio from there on: the shape of FastV (arXiv 2403.06764)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import Family
from schedsearch.core.space import Parameter


@dataclass(frozen=True)
class Step(Family):
    """Layers before `layer` process everything, `layer` and those after it the share `keep`.

    FastV's K is `layer` and its R is 1 - `keep`.
    """

    name: ClassVar[str] = "step"

    def _free(self, cuts: range) -> tuple[Parameter, ...]:
        return (Parameter("layer", cuts[0], cuts[-1], integer=True),)

    def _solved(self, _cuts: range) -> Parameter:
        return Parameter("keep", 0.0, 1.0)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        return [values["keep"] if layer >= values["layer"] else 1.0 for layer in cuts]
