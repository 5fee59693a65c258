"""Schedules that cost less than the best one and may be accepted, as a model sees them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from botorch.models import SingleTaskGP
from torch import Tensor

from schedsearch.core.schedule import Schedule
from schedsearch.samplers.around import Around
from schedsearch.samplers.known import Point
from schedsearch.samplers.rough_cost import RoughCost
from schedsearch.samplers.surrogate import curves, fitted, most_promising, reproducible

_CENTRES = 4


@dataclass(frozen=True)
class Judged:
    """A schedule of which it is known whether it is accepted.

    Attributes:
        schedule: The schedule.
        loss: What is compared with the tolerance; None where it is only known to be more.
        error: Standard error of the drop; 0 where unknown.
    """

    schedule: Schedule
    loss: float | None
    error: float


@dataclass(frozen=True)
class Cheaper:
    """What a question beyond G-Search depends on.

    A Gaussian process of the loss over the curves of schedules, as `Bayes` has one of the drop.
    Losses above the tolerance by more than the greatest standard error count as that much, and so
    do those that are not known to their end: how much is lost far from the edge says nothing of
    where the edge is. A point is worth

        (1 - its cost / the limit) * P(its loss <= the tolerance),

    expected improvement under a constraint (arXiv 1403.5607), the improvement being known; and
    nothing where a rejected schedule keeps at least as much in every layer.
    Reconstruction: 2412.00556 has no such step. Open trials are taken to lose what the process
    expects.

    Attributes:
        around: What is searched.
        judged: What the process learns.
        pending: Open trials.
        accepted: Points known to be accepted, the cheapest first.
        tolerance: The greatest loss that is accepted.
        cost: What a schedule costs.
        limit: What it must cost less than.
    """

    around: Around
    judged: Sequence[Judged]
    pending: Sequence[Schedule]
    accepted: Sequence[Mapping[str, float]]
    tolerance: float
    cost: RoughCost
    limit: float

    def promising(self, seed: int, own_seed: int) -> list[Point]:
        """Return points that cost less, those that promise most first.

        Args:
            seed: Of the search.
            own_seed: Of the question.
        """
        with reproducible(own_seed):
            process, rejected = self._process(), self._rejected()

            def promise(points: Sequence[Point]) -> Tensor:
                if not points:
                    return torch.empty(0, dtype=torch.float64)
                n_max = self.around.n_max
                found = [Schedule.from_counts(self.around.counts(one), n_max) for one in points]
                saved = [1 - self.cost(one) / self.limit for one in found]
                known = process.posterior(self._inputs(found))
                above = (self.tolerance - known.mean) / known.variance.sqrt()
                worth = torch.tensor(saved, dtype=torch.float64).clamp(min=0).log()
                promised: Tensor = worth + torch.special.log_ndtr(above[:, 0])
                within = (self._inputs(found)[:, None] <= rejected).all(-1).any(-1)
                return promised.detach().masked_fill(within, -math.inf)

            centres = [*self.accepted, self.around.itself][:_CENTRES]
            return most_promising(self.around.space, promise, [dict(one) for one in centres], seed)

    def _process(self) -> SingleTaskGP:
        most = max(one.error for one in self.judged) or self.tolerance or 1.0
        ceiling = self.tolerance + most
        losses = [math.inf if one.loss is None else one.loss for one in self.judged]
        inputs = self._inputs([one.schedule for one in self.judged])
        values = [min(ceiling, loss) for loss in losses]
        errors = [one.error for one in self.judged]
        process = fitted(inputs, values, errors)
        if not self.pending:
            return process
        awaited = self._inputs(self.pending)
        with torch.no_grad():
            believed = process.posterior(awaited).mean[:, 0].tolist()
        unsure = [0.0] * len(believed)
        return fitted(torch.cat([inputs, awaited]), values + believed, errors + unsure)

    def _rejected(self) -> Tensor:
        """Return the inputs of rejected schedules, shape (rejected, layers - first)."""
        found = [
            one.schedule for one in self.judged if one.loss is None or one.loss > self.tolerance
        ]
        return self._inputs(found) if found else torch.empty(0, 1, dtype=torch.float64)

    def _inputs(self, schedules: Sequence[Schedule]) -> Tensor:
        return curves(schedules, self.around.first)
