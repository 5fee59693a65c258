"""What single cuts cost, and what that predicts for schedules of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from schedsearch.core.schedule import Schedule, reducible_layers
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.samplers.settings import Divergences

SHARES = (0.0, 0.0625, 0.125, 0.25, 0.5, 0.75)
SAMPLES = 50

_FREE = 0.05


@dataclass(frozen=True)
class SingleCuts:
    """The loss of every schedule that keeps all tokens before one layer and a share from there on.

    D(l, s), the loss of the cut at layer l to the share s, is measured for a few shares. Between
    them it is a straight line; D(l, 1) is 0; and a cut loses at least what a milder one at its
    layer does, whatever noise says.

    A schedule is taken to lose what each layer loses that processes fewer tokens,

        sum over l of D(l, keep[l]) - D(l + 1, keep[l]),  where D(layers, s) = 0,

    which is the sum over its cuts of D(l, keep[l]) - D(l, keep[l - 1]): what leaves at layer l, if
    nothing had left before.

    Source: the additive approximation of DOP (arXiv 2507.02909), by which the divergence of a
    pruned model is the sum of those of its single prunings.
    Reconstruction: there groups of tokens are pruned apart from each other; a ranker orders them,
    so that a group here is what lies between two shares of one layer.

    Attributes:
        first: First layer with a cut.
        shares: Of the vision tokens that a cut leaves; ascending, below 1.
        losses: By layer from `first` and by share, shape (layers - first, shares).

    Raises:
        InputError: The shares do not ascend in [0, 1), or the losses are none of such a table.
    """

    first: int
    shares: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        ascending = list(self.shares) == sorted(set(self.shares))
        if not self.shares or not ascending or not 0 <= self.shares[0] <= self.shares[-1] < 1:
            raise InputError(
                f"`shares` must ascend within [0, 1), but got {shown(list(self.shares))}; "
                f"1 keeps everything and loses nothing"
            )
        rows = {len(row) for row in self.losses}
        if rows != {len(self.shares)}:
            raise InputError(
                f"the losses of single cuts must have {len(self.shares)} numbers for each layer, "
                f"one for each share, but got rows of {shown(sorted(rows))}; measure them again"
            )

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""
        return self.first + len(self.losses)

    @classmethod
    def measured(
        cls,
        divergences: "Divergences",
        layers: int,
        first: int,
        shares: Sequence[float] = SHARES,
        samples: int = SAMPLES,
    ) -> tuple[Self, float]:
        """Return the cuts of a model, and what to measure them has cost in full passes.

        Args:
            divergences: Measures them.
            layers: Of the model.
            first: First layer with a cut.
            shares: Ascending, below 1.
            samples: How many are looked at.

        Raises:
            InputError: `first` is no layer.
            RunError: A cut cannot be evaluated.
        """
        found, spent = divergences(single_cuts(layers, first, shares), samples)
        width = len(shares)
        rows = (tuple(found[at : at + width]) for at in range(0, len(found), width))
        return cls(first, tuple(shares), tuple(rows)), spent

    def needs(self, n_max: int) -> list[int]:
        """Return the least count of each layer whose cut loses next to nothing: 5 % of the worst.

        What a layer needs alone says where G-Search may find it: a loss that adds up would let the
        first layer that is settled use up all that may be lost.

        Args:
            n_max: The most vision tokens of a sample.

        Returns:
            Never growing with depth, shape (layers,).
        """
        keeps = [count / n_max for count in range(n_max + 1)]
        cuts = self.of_cuts(keeps)
        alone = (cuts <= _FREE * cuts.max()).argmax(axis=1)
        falling = np.maximum.accumulate(alone[::-1])[::-1]
        return [n_max] * self.first + [int(count) for count in falling]

    def of_cuts(self, keeps: Sequence[float]) -> NDArray[np.float64]:
        """Return D(l, s) by layer from `first` and by share, shape (layers - first, keeps)."""
        return np.array([self._losses(row, keeps) for row in self.losses])

    def of_layers(self, keeps: Sequence[float]) -> NDArray[np.float64]:
        """Return what each layer loses that processes a share: the terms of the sum.

        Args:
            keeps: Shares of the vision tokens.

        Returns:
            Shape (layers - first, keeps).
        """
        cuts = self.of_cuts(keeps)
        deeper = np.vstack([cuts[1:], np.zeros((1, len(keeps)))])
        terms: NDArray[np.float64] = cuts - deeper
        return terms

    def predicted(self, schedule: Schedule) -> float:
        """Return what a schedule is taken to lose; one that cuts before `first` has no such loss.

        Raises:
            InputError: The schedule is of another depth, or cuts before `first`.
        """
        if schedule.layers != self.layers or min(schedule.keep[: self.first], default=1) < 1:
            raise InputError(
                f"the schedule must have {self.layers} layers and keep all tokens before layer "
                f"{self.first}, but got {shown(list(schedule.keep))}; measure its cuts first"
            )
        terms = self.of_layers(schedule.keep[self.first :])
        return float(terms.diagonal().sum())

    def _losses(self, row: Sequence[float], keeps: Sequence[float]) -> NDArray[np.float64]:
        """Return what cuts at a layer lose, whose measured losses are given."""
        milder_first = accumulate([0.0, *reversed(row)], max)
        known = list(milder_first)[::-1]
        losses: NDArray[np.float64] = np.interp(np.array(keeps), [*self.shares, 1.0], known)
        return losses


def single_cuts(layers: int, first: int, shares: Sequence[float]) -> list[Schedule]:
    """Return the schedules with one cut each, by layer from `first` and by share.

    Neighbours have most layers in common, which reuse of prefixes needs.

    Raises:
        InputError: `first` is no layer.
    """
    return [
        Schedule((1.0,) * layer + (share,) * (layers - layer))
        for layer in reducible_layers(first, layers)
        for share in shares
    ]
