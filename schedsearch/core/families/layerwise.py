"""A ratio of its own for every layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from schedsearch.core.families.base import build
from schedsearch.core.schedule import RankerSpec, Schedule, reducible_layers
from schedsearch.core.space import Parameter, Space


@dataclass(frozen=True)
class Layerwise:
    """Layer l processes the share `keep_l`, or less where a layer before it does; then scaled.

    `scale` moves the whole curve: up to 1 it multiplies what is kept, from 1 on 2 - `scale`
    multiplies what is dropped. So 1 is the curve itself and every curve reaches every budget,
    which a plain factor on ratios near 0 does not.
    """

    first: int = 2
    name: ClassVar[str] = "layerwise"
    solved: ClassVar[str] = "scale"

    def space(self, layers: int) -> Space:
        """Return `keep_l` in [0, 1] for each reducible layer l, and `scale` in [0, 2]."""
        ratios = (
            Parameter(f"keep_{layer}", 0.0, 1.0) for layer in reducible_layers(self.first, layers)
        )
        return Space((*ratios, Parameter("scale", 0.0, 2.0)))

    def schedule(
        self, params: Mapping[str, float], layers: int, ranker: RankerSpec | None = None
    ) -> Schedule:
        """Return the scaled running minimum of the ratios."""
        *ratios, scale = self.space(layers).check(params).values()
        return build(self.first, [_scaled(keep, scale) for keep in accumulate(ratios, min)], ranker)


def _scaled(keep: float, scale: float) -> float:
    if scale <= 1:
        return scale * keep
    return 1 - (2 - scale) * (1 - keep)
