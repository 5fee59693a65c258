"""Which share of the tokens each layer gets, where prices and losses of layers add up."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Allocations:
    """Choices of a level for each layer, none of which another beats in cost and loss at once.

    Attributes:
        cost: Of each, rising; shape (choices,).
        loss: Of each, falling; shape (choices,).
        levels: Of each and of each layer, never growing with depth; shape (choices, layers).
    """

    cost: Values
    loss: Values
    levels: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.cost)

    def undominated(self) -> Self:
        """Return those that no other beats; of equal ones the first."""
        order = np.lexsort((self.loss, self.cost))
        loss = self.loss[order]
        before = np.minimum.accumulate(np.concatenate([[np.inf], loss[:-1]]))
        return self._at(order[loss < before])

    def thinned(self, most: int) -> Self:
        """Return at most so many, from all over the costs; the ends are among them."""
        if len(self) <= most:
            return self
        span = self.cost[-1] - self.cost[0]
        part = ((self.cost - self.cost[0]) / span * (most - 2)).astype(int)
        best_of_part = np.append(part[1:] != part[:-1], True)
        best_of_part[0] = True
        return self._at(np.flatnonzero(best_of_part))

    def joined(self, other: Self) -> Self:
        """Return both together."""
        return type(self)(
            np.concatenate([self.cost, other.cost]),
            np.concatenate([self.loss, other.loss]),
            np.concatenate([self.levels, other.levels]),
        )

    def deeper(self, level: int, price: float, loss: float) -> Self:
        """Return each with one more layer, at that level."""
        column = np.full((len(self), 1), level, dtype=np.int16)
        levels = np.hstack([self.levels, column])
        return type(self)(self.cost + price, self.loss + loss, levels)

    def _at(self, places: NDArray[np.intp]) -> Self:
        return type(self)(self.cost[places], self.loss[places], self.levels[places])


def allocations(prices: Values, losses: Values, most: int = 2048) -> Allocations:
    """Return what is worth choosing: for every cost the least loss, in one pass over the layers.

    A dynamic programme: behind a layer only its level counts, and what was chosen before matters by
    cost and loss alone. So of the choices that end at one level the beaten ones are left out.

    Args:
        prices: What a layer costs at each level, shape (levels,); greater levels come later.
        losses: What each layer loses at each level, shape (layers, levels).
        most: How many choices are followed for each level. Where there are more, those are taken
            that lose least within equal parts of the cost; else the result is exact.
    """
    nothing = Allocations(np.zeros(1), np.zeros(1), np.zeros((1, 0), dtype=np.int16))
    here = [
        nothing.deeper(level, price, loss)
        for level, (price, loss) in enumerate(zip(prices, losses[0], strict=True))
    ]
    for layer in losses[1:]:
        reached, deeper = here[-1], []
        for level in reversed(range(len(prices))):
            if level < len(prices) - 1:
                reached = reached.joined(here[level]).undominated().thinned(most)
            deeper.append(reached.deeper(level, prices[level], layer[level]))
        here = deeper[::-1]
    whole = here[0]
    for one in here[1:]:
        whole = whole.joined(one)
    return whole.undominated().thinned(most)
