"""The frontier of cost and loss that single cuts predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from schedsearch.core.budget import Measure
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.samplers.allocation import allocations
from schedsearch.samplers.narrowing import Counts
from schedsearch.samplers.single_cuts import SingleCuts

_LEVELS = 32


@dataclass(frozen=True)
class Predicted:
    """A schedule of the frontier.

    Attributes:
        counts: Vision tokens of each layer, of the most that a sample has.
        cost: In the unit of the measure.
        loss: What its cuts are taken to lose together, in the unit of `SingleCuts`.
    """

    counts: Counts
    cost: float
    loss: float


@lru_cache(maxsize=64)
def predicted_frontier(
    cuts: SingleCuts, measure: Measure, shape: DecoderShape, tokens: tuple[SampleTokens, ...]
) -> tuple[Predicted, ...]:
    """Return schedules than which none costs and loses less; cost rising, loss falling.

    Their counts are those of a grid: 33 even ones, and those of the shares that were measured, at
    which the loss has its kinks.

    Args:
        cuts: What single cuts lose.
        measure: Of the cost, to which every layer adds what it costs whatever the others keep.
        shape: The language model.
        tokens: The samples over which the cost is taken.
    """
    n_max, first = max(sample.n_vision for sample in tokens), cuts.first
    even = np.linspace(0, n_max, min(n_max, _LEVELS) + 1)
    measured = np.array(cuts.shares) * n_max
    counts = np.unique(np.concatenate([even, measured]).round().astype(int)).tolist()
    keeps = [count / n_max for count in counts]
    cost, tail = measure.cost(shape, tokens), shape.layers - first
    uniform = [cost(Schedule((1.0,) * first + (keep,) * tail)) for keep in keeps]
    prices = (np.array(uniform) - uniform[0]) / tail
    found = allocations(prices, cuts.of_layers(keeps))
    return tuple(
        Predicted((n_max,) * first + tuple(counts[level] for level in levels), *pair)
        for levels, *pair in zip(
            found.levels.tolist(),
            (found.cost + uniform[0]).tolist(),
            found.loss.tolist(),
            strict=True,
        )
    )


def evenly(
    costs: Sequence[float], among: Sequence[int], low: float, high: float, steps: int
) -> list[int]:
    """Return the places whose costs are nearest to equal steps above `low`, up to `high`.

    Args:
        costs: Of a frontier.
        among: The places to choose from, ascending.
        low: A cost.
        high: A greater one.
        steps: How many; several may have the same nearest place.
    """
    targets = [low + (high - low) * step / steps for step in range(1, steps + 1)]
    found = [min(among, key=lambda at: abs(costs[at] - target)) for target in targets]
    return sorted(set(found))
