"""A ratio of its own for every layer."""

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from schedsearch.core.families.base import Family
from schedsearch.core.schedule import reducible_layers
from schedsearch.core.space import Parameter


@dataclass(frozen=True)
class Layerwise(Family):
    """Layer l processes the share `keep_l`, or less where a layer before it does; then scaled.

    `scale`, 0 to 2, moves the whole curve: up to 1 it multiplies what is kept, from 1 on
    2 - `scale` multiplies what is removed. So 1 is the curve itself and every curve reaches every
    budget, which a plain factor on ratios near 0 does not.
    """

    name: ClassVar[str] = "layerwise"

    def read(self, keep: Sequence[float]) -> dict[str, float]:
        """Return the ratios from `first` on."""
        return {f"keep_{layer}": keep[layer] for layer in reducible_layers(self.first, len(keep))}

    def _free(self, cuts: range) -> tuple[Parameter, ...]:
        return tuple(Parameter(f"keep_{layer}", 0.0, 1.0) for layer in cuts)

    def _solved(self, _cuts: range) -> Parameter:
        return Parameter("scale", 0.0, 2.0)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        ratios = accumulate((values[f"keep_{layer}"] for layer in cuts), min)
        return [_scaled(keep, values["scale"]) for keep in ratios]


def random_monotone(family: Layerwise, layers: int, seed: int) -> dict[str, float]:
    """Return a random point of the family's space: the baseline that a search has to beat.

    The ratio falls at a random number of layers, any number equally likely, to as many random
    ratios; so single steps are as likely as curves that fall at every layer. `schedule` scales it
    to a budget.
    """
    draw = random.Random(seed)
    cuts = reducible_layers(family.first, layers)
    falls = sorted(draw.sample(cuts, draw.randint(1, len(cuts))))
    ratios = [1.0, *sorted((draw.random() for _ in falls), reverse=True)]
    return {f"keep_{layer}": ratios[bisect_right(falls, layer)] for layer in cuts}


def _scaled(keep: float, scale: float) -> float:
    if scale <= 1:
        return scale * keep
    return 1 - (2 - scale) * (1 - keep)
