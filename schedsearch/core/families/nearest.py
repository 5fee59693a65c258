"""The member of a family that is nearest to a given curve: where a search may start."""

from collections.abc import Sequence
from itertools import product
from math import inf

from schedsearch.core.budget import Budget
from schedsearch.core.families.base import Family
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError

_GRID = 5
_FINEST = 1 / 128


def nearest(
    family: Family, keep: Sequence[float], shape: DecoderShape, tokens: Sequence[SampleTokens]
) -> dict[str, float]:
    """Return the point of the family's space whose schedule is nearest to `keep` at equal FLOPs.

    Nearest in mean absolute difference over the layers, up to the resolution of a grid of 5 values
    per parameter that is refined around its best point down to 1/128 of each range.

    Args:
        family: Its solved parameter makes the FLOPs equal.
        keep: Ratio per layer of the model, never growing.
        shape: The language model.
        tokens: The samples over which FLOPs are taken.

    Raises:
        InputError: No schedule of the family has these FLOPs, or `keep` is no schedule of the
            model.
    """
    budget = Budget("flops", flops_ratio(shape, Schedule(tuple(keep)), tokens))
    exact = family.read(keep)
    if exact is not None:
        return exact
    parameters = family.space(shape.layers).parameters
    measured: dict[tuple[float, ...], float] = {}

    def values(shares: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(each.at(share) for each, share in zip(parameters, shares, strict=True))

    def point(shares: tuple[float, ...]) -> dict[str, float]:
        return {each.name: value for each, value in zip(parameters, values(shares), strict=True)}

    def distance(shares: tuple[float, ...]) -> float:
        key = values(shares)
        if key not in measured:
            try:
                curve = family.schedule(point(shares), budget, shape, tokens).keep
                measured[key] = sum(abs(a - b) for a, b in zip(curve, keep, strict=True))
            except InputError:  # the budget is out of reach from here
                measured[key] = inf
        return measured[key]

    grid = [i / (_GRID - 1) for i in range(_GRID)]
    best = min(product(grid, repeat=len(parameters)), key=distance)
    if distance(best) == inf:
        family.schedule(point(best), budget, shape, tokens)
    stride = 1 / (_GRID - 1)
    while stride >= _FINEST:
        around = [
            tuple(min(1.0, max(0.0, at + way * stride)) for at, way in zip(best, ways, strict=True))
            for ways in product((-1, 0, 1), repeat=len(best))
        ]
        found = min((best, *around), key=distance)
        stride, best = (stride if found != best else stride / 2), found
    return point(best)
