"""The least drop under a budget, as a model sees it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, median_low

import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from schedsearch.samplers.known import Known, Observed, Place, Point
from schedsearch.samplers.surrogate import curves, fitted

_CENTRES = 4
_MC_SAMPLES = 64
_CONTRAST = 0.3
_MARGIN = 0.3
_90 = 1.645


@dataclass(frozen=True)
class LeastDrop:
    """An `Objective`: the improvement to expect over the least drop, see `Bayes`.

    Attributes:
        known: What the question depends on.
        first: First layer that may process fewer vision tokens than there are.
        least: The least drop that the trial with a number may know; None where it knows none.
    """

    known: Known
    first: int
    least: Callable[[int], float | None]

    def observed(self) -> list[Observed]:
        """Return what was measured, and guesses for what was pruned."""
        found = self.known.measured()
        pruned = self.known.pruned()
        if not pruned:
            return found
        least, spread = _scale([one.drop for one in found])
        unsure = median_low(one.error for one in found)
        inputs = self.inputs([(point, trial.schedule) for point, trial in pruned])
        means = self._process(found).posterior(inputs).mean[:, 0].tolist()
        guesses = []
        for (point, trial), mean in zip(pruned, means, strict=True):
            then = self.least(trial.number)
            bound = (least if then is None else then) + _MARGIN * spread
            lost = max(bound, least - spread + math.exp(-mean))
            guesses.append(Observed(point, trial.schedule, lost, unsure))
        return found + guesses

    def inputs(self, places: Sequence[Place]) -> Tensor:
        """Return the curves of the schedules."""
        return curves([schedule for _, schedule in places], self.first)

    def criterion(self, observed: Sequence[Observed], seed: int) -> Callable[[Tensor], Tensor]:
        """Return qLogNoisyExpectedImprovement of the contrasted drops."""
        pending = self.known.pending
        return qLogNoisyExpectedImprovement(
            self._process(observed),
            self.inputs([one.place for one in observed]),
            SobolQMCNormalSampler(torch.Size([_MC_SAMPLES]), seed=seed),
            X_pending=self.inputs(pending) if pending else None,
        )

    def expected(self, places: Sequence[Place]) -> list[tuple[float, float, float]]:
        """Return median and 90 % interval of the drop at each place, noise left out."""
        observed = self.observed()
        least, spread = _scale([one.drop for one in observed])
        process = self._process(observed)
        with torch.no_grad():
            posterior = process.posterior(self.inputs(places))
        means = posterior.mean[:, 0].tolist()
        widths = (_90 * posterior.variance[:, 0].sqrt()).tolist()
        return [
            tuple(least - spread + math.exp(-one) for one in (mean, mean + wide, mean - wide))  # type: ignore[misc]
            for mean, wide in zip(means, widths, strict=True)
        ]

    def centres(self, observed: Sequence[Observed]) -> list[Point]:
        """Return the points that have lost least."""
        return [one.point for one in sorted(observed, key=lambda one: one.drop)][:_CENTRES]

    def _process(self, observed: Sequence[Observed]) -> SingleTaskGP:
        values = contrasted([(one.drop, one.error) for one in observed])
        return fitted(self.inputs([one.place for one in observed]), *values)


def contrasted(measured: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return values, the greatest for the least drop, in which small drops lie far apart.

    -log(drop - least + s), where s is `_CONTRAST` of the way from the least to the median drop.
    Neither the unit of the drops nor where they begin changes the differences of the values.

    Args:
        measured: Drops and their standard errors.

    Returns:
        The values, and how much they change by the standard errors of the drops.
    """
    drops = [drop for drop, _ in measured]
    least, spread = _scale(drops)
    above = [drop - least + spread for drop in drops]
    errors = [error / one for (_, error), one in zip(measured, above, strict=True)]
    return [-math.log(one) for one in above], errors


def _scale(drops: Sequence[float]) -> tuple[float, float]:
    """Return the least drop and the difference from it that `contrasted` calls s."""
    least = min(drops)
    spreads = _CONTRAST * (median(drops) - least), max(drops) - least
    rounding = 1e-9 * max(map(abs, drops))
    return least, next((each for each in spreads if each > rounding), max(1.0, rounding))
