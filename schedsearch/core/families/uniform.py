"""One ratio for all layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import build
from schedsearch.core.schedule import RankerSpec, Schedule, reducible_layers
from schedsearch.core.space import Parameter, Space


@dataclass(frozen=True)
class Uniform:
    """Every layer from `first` on processes the same share `keep`."""

    first: int = 2
    name: ClassVar[str] = "uniform"
    solved: ClassVar[str] = "keep"

    def space(self, layers: int) -> Space:
        """Return `keep` in [0, 1]."""
        reducible_layers(self.first, layers)
        return Space((Parameter("keep", 0.0, 1.0),))

    def schedule(
        self, params: Mapping[str, float], layers: int, ranker: RankerSpec | None = None
    ) -> Schedule:
        """Return keep(l) = `keep` from `first` on."""
        keep = self.space(layers).check(params)["keep"]
        return build(self.first, [keep] * (layers - self.first), ranker)
