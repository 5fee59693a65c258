"""Everything up to one layer, one ratio from there on: the shape of FastV (arXiv 2403.06764)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import build
from schedsearch.core.schedule import RankerSpec, Schedule, reducible_layers
from schedsearch.core.space import Parameter, Space


@dataclass(frozen=True)
class Step:
    """Layers before `layer` process everything, `layer` and those behind it the share `keep`.

    FastV's K is `layer` and its R is 1 - `keep`.
    """

    first: int = 2
    name: ClassVar[str] = "step"
    solved: ClassVar[str] = "keep"

    def space(self, layers: int) -> Space:
        """Return `layer`, the first that processes fewer, and `keep` in [0, 1]."""
        cuts = reducible_layers(self.first, layers)
        return Space(
            (
                Parameter("layer", cuts[0], cuts[-1], integer=True),
                Parameter("keep", 0.0, 1.0),
            )
        )

    def schedule(
        self, params: Mapping[str, float], layers: int, ranker: RankerSpec | None = None
    ) -> Schedule:
        """Return keep(l) = 1 before `layer`, `keep` from there on."""
        values = self.space(layers).check(params)
        cut = int(values["layer"])
        return build(cut, [values["keep"]] * (layers - cut), ranker)
