"""The same factor at evenly spaced layers: the shape of PyramidDrop (arXiv 2410.17247)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import Family
from schedsearch.core.space import Parameter

_MOST_STEPS = 8


@dataclass(frozen=True)
class Staircase(Family):
    """Layers before `layer` process everything; `steps` stairs of even length follow.

    Stair j = 1, 2, ... processes the share `ratio` ** j. PyramidDrop on 32 layers is `layer` 8,
    `steps` 3, `ratio` 1/2. Differs: the first stair may start anywhere. With one step it is `Step`.
    """

    name: ClassVar[str] = "staircase"

    def _free(self, cuts: range) -> tuple[Parameter, ...]:
        return (
            Parameter("layer", cuts[0], cuts[-1], integer=True),
            Parameter("steps", 2, _MOST_STEPS, integer=True),
        )

    def _solved(self, _cuts: range) -> Parameter:
        return Parameter("ratio", 0.0, 1.0)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        start, steps = int(values["layer"]), int(values["steps"])
        stairs = (max(0, 1 + (layer - start) * steps // (cuts.stop - start)) for layer in cuts)
        return [values["ratio"] ** stair for stair in stairs]
