"""What a question is decided by, and the points that promise most by it."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from schedsearch.core.schedule import Schedule
from schedsearch.core.space import Space
from schedsearch.samplers.known import Observed, Place, Point
from schedsearch.samplers.surrogate import most_promising, reproducible, values_of


class Objective(Protocol):
    """What a model learns from what is known, and what is asked of the model."""

    def observed(self) -> list[Observed]:
        """Return what the model learns: measured points first, then guesses for pruned ones."""

    def inputs(self, places: Sequence[Place]) -> Tensor:
        """Return what the model knows points by: double, shape (points, d)."""

    def criterion(self, observed: Sequence[Observed], seed: int) -> Callable[[Tensor], Tensor]:
        """Return what inputs of shape (points, 1, d) are worth, shape (points,).

        Args:
            observed: What the model learns.
            seed: Of the samples from the model.
        """

    def centres(self, observed: Sequence[Observed]) -> list[Point]:
        """Return the best points, near which some candidates shall lie."""


def promising(
    objective: Objective,
    space: Space,
    schedule: Callable[[Point], Schedule | None],
    seed: int,
    own_seed: int,
) -> list[Point]:
    """Return points of the space, those that promise most first.

    Args:
        objective: Of the question.
        space: What is searched.
        schedule: What a point stands for, about; None where it cannot be asked.
        seed: Of the search.
        own_seed: Of the question.
    """
    with reproducible(own_seed):
        observed = objective.observed()
        criterion = objective.criterion(observed, own_seed)

        def promise(points: Sequence[Point]) -> Tensor:
            values = torch.full((len(points),), -math.inf, dtype=torch.float64)
            found = [(i, point, schedule(point)) for i, point in enumerate(points)]
            reached = [(i, (point, one)) for i, point, one in found if one is not None]
            if reached:
                inputs = objective.inputs([place for _, place in reached])
                values[[i for i, _ in reached]] = values_of(criterion, inputs)
            return values

        return most_promising(space, promise, objective.centres(observed), seed)
