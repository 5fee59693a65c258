"""Published keep curves, measured off figures of arXiv 2412.00556 to about 0.01.

Layers are counted from 0 here, and 0 and 1 keep everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schedsearch.core.families.base import depths
from schedsearch.core.schedule import reducible_layers


@dataclass(frozen=True)
class PublishedCurve:
    """Ratios that G-Search found.

    Attributes:
        model: The model it was found for.
        layers: Decoder layers of its language model.
        read: Ratio by layer, for the layers that can be read.
        source: Where it was published.
    """

    model: str
    layers: int
    read: Mapping[int, float]
    source: str = "arXiv 2412.00556, G-Search, measured off the figure"

    def keep(self) -> tuple[float, ...]:
        """Return a ratio for every layer: straight lines between those read, level after them."""
        known = sorted(self.read)
        curve = []
        for layer in range(self.layers):
            below = max(each for each in known if each <= layer)
            above = min((each for each in known if each >= layer), default=below)
            share = (layer - below) / (above - below) if above > below else 0.0
            curve.append(self.read[below] + share * (self.read[above] - self.read[below]))
        return tuple(curve)

    def stretched(self, layers: int, first: int) -> tuple[float, ...]:
        """Return the curve over another number of layers: the same ratio at the same depth.

        Args:
            layers: Of the other model.
            first: Its first layer that may process fewer vision tokens than there are.
        """
        own, cuts = self.keep(), reducible_layers(first, layers)
        begin = min(layer for layer, ratio in enumerate(own) if ratio < 1)
        at = [begin + depth * (self.layers - 1 - begin) for depth in depths(cuts)]
        return (1.0,) * first + tuple(own[round(place)] for place in at)


# fmt: off
LLAVA_1_5_7B = PublishedCurve("LLaVA-1.5-7B", 32, dict(enumerate((
    1.0, 1.0, 0.65, 0.64, 0.62, 0.62, 0.62, 0.50, 0.50, 0.50, 0.50, 0.487,
    0.236, 0.236, 0.236, 0.236, 0.18, 0.18, 0.18,
    0.077, 0.0756, 0.0742, 0.0728, 0.0714, 0.07, 0.06,
    0.04, 0.0375, 0.035, 0.0325, 0.03,
))))

INTERNVL2_8B = PublishedCurve("InternVL2-8B", 32, {
    0: 1.0, 1: 1.0, 2: 0.79, 5: 0.79, 8: 0.585, 11: 0.525, 14: 0.355,
    17: 0.305, 20: 0.19, 23: 0.11, 26: 0.09, 29: 0.085,
})
# fmt: on

CURVES = (LLAVA_1_5_7B, INTERNVL2_8B)
