"""The frontier of drop and cost, as a model sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median_low

import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from schedsearch.core.flops import Cost
from schedsearch.core.pareto import undominated
from schedsearch.core.space import Parameter
from schedsearch.samplers.interpreted import interpreted
from schedsearch.samplers.known import Known, Observed, Place, Point
from schedsearch.samplers.surrogate import curves, fitted

_MC_SAMPLES = 64


@dataclass(frozen=True)
class Hypervolume:
    """An `Objective`: how far the frontier of drop and cost may advance, see `Frontier`.

    Attributes:
        known: What the question depends on.
        first: First layer that may process fewer vision tokens than there are.
        cost: What a schedule costs.
        budgets: The parameter that says what a schedule may cost.
        full: Cost of the full model.
        worst: The drop from which on a trial is worth nothing.
    """

    known: Known
    first: int
    cost: Cost
    budgets: Parameter
    full: float
    worst: float

    def observed(self) -> list[Observed]:
        """Return what was measured, and guesses for what was pruned.

        A measured point stands at the budget that its schedule really uses, which gives the same
        schedule.
        """
        low, high = self.budgets.low, self.budgets.high
        found: list[Observed] = []
        for one in self.known.measured():
            used = min(high, max(low, self.cost(one.schedule)))
            found.append(replace(one, point={**one.point, "budget": used}))
        unsure = median_low(one.error for one in found)
        guesses: list[Observed] = []
        for point, trial in self.known.pruned():
            cheaper = [one.drop for one in found if one.point["budget"] <= point["budget"]]
            lost = median_low(cheaper or [one.drop for one in found])
            guesses.append(Observed(point, trial.schedule, lost, unsure))
        return found + guesses

    def inputs(self, places: Sequence[Place]) -> Tensor:
        """Return the curves of the schedules, and last their costs / full."""
        costs = [[point["budget"] / self.full] for point, _ in places]
        own = curves([schedule for _, schedule in places], self.first)
        return torch.cat([own, torch.tensor(costs, dtype=torch.float64)], -1)

    def criterion(self, observed: Sequence[Observed], seed: int) -> Callable[[Tensor], Tensor]:
        """Return qLogNoisyExpectedHypervolumeImprovement of what is not lost and not spent."""
        inputs = self.inputs([one.place for one in observed])
        values = [1 - one.drop / self.worst for one in observed]
        errors = [one.error / self.worst for one in observed]
        pending = self.known.pending
        with interpreted():
            criterion = qLogNoisyExpectedHypervolumeImprovement(
                fitted(inputs, values, errors),
                [0.0, 0.0],
                inputs[: len(self.known.measured())],
                SobolQMCNormalSampler(torch.Size([_MC_SAMPLES]), seed=seed),
                objective=GenericMCMultiOutputObjective(_saved),
                X_pending=self.inputs(pending) if pending else None,
            )

        def worth(inputs: Tensor) -> Tensor:
            with interpreted():
                found: Tensor = criterion(inputs)
            return found

        return worth

    def centres(self, observed: Sequence[Observed]) -> list[Point]:
        """Return the frontier of the measured points."""
        measured = observed[: len(self.known.measured())]
        front = undominated([(one.point["budget"], one.drop) for one in measured])
        return [measured[i].point for i in front]


def _saved(samples: Tensor, X: Tensor | None = None) -> Tensor:
    """Return what is not lost, relative to the worst, and not spent: (..., n, 2)."""
    assert X is not None, "the budget is one of the inputs"
    kept = samples[..., 0].clamp(max=1)
    return torch.stack([kept, (1 - X[..., -1]).expand_as(kept)], dim=-1)
