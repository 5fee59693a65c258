"""One ratio for all layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.families.base import Family
from schedsearch.core.space import Parameter


@dataclass(frozen=True)
class Uniform(Family):
    """Every layer from `first` on processes the same share `keep`, in [0, 1]; nothing to search."""

    name: ClassVar[str] = "uniform"

    def _free(self, _cuts: range) -> tuple[Parameter, ...]:
        return ()

    def _solved(self, _cuts: range) -> Parameter:
        return Parameter("keep", 0.0, 1.0)

    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        return [values["keep"]] * len(cuts)
