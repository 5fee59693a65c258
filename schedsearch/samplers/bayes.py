"""Bayesian optimisation of a family's parameters under a budget."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import median, median_low
from typing import ClassVar

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from schedsearch.core.pareto import costs
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.budgeted import TRIES, Budgeted, Known, Point, Row
from schedsearch.samplers.rough_cost import RoughCost, rough_schedule
from schedsearch.samplers.surrogate import (
    curves,
    fitted,
    most_promising,
    reproducible,
    sobol,
    values_of,
)

_START = 4
_CENTRES = 4
_MC_SAMPLES = 64
_CONTRAST = 0.3
_MARGIN = 0.3


@dataclass(frozen=True, kw_only=True)
class Bayes(Budgeted):
    """Asks where a Gaussian process of the drop promises the greatest improvement.

    The process knows a point by the curve of its schedule, not by its parameters: far points of a
    family may stand for nearly the same schedule. The criterion is
    qLogNoisyExpectedImprovement (arXiv 2310.20708) with the open trials pending. Noise is a share,
    fitted, of the drops' standard errors: all trials read the same samples, and what other samples
    would change, they would change alike for schedules that are near. What is modelled is the
    drop's logarithm (see `contrasted`), so that the worst trials do not hide what distinguishes the
    best. Until there are 4 measurements, the middle of the space and the points of a scrambled
    Sobol sequence are asked, and no trial is stopped. A pruned trial, of which a bound alone is
    known, is taken to have lost what the process of the measured ones says, but a little more than
    the best one then known.
    """

    name: ClassVar[str] = "bayes"

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether the trial can no longer become the best, once there are enough to learn from.

        What a person has asked for is measured to its end.
        """
        enough = self._modelled(self._known(history, trial.number))
        return enough and super().hopeless(history, trial, least_drop)

    def _candidates(self, known: Known) -> Iterator[Point]:
        if self._modelled(known):
            yield from self._promising(known)
        else:
            yield {each.name: each.at(0.5) for each in self.space.parameters}
            yield from sobol(self.space, self.seed, known.asked, TRIES)

    def _phase(self, known: Known) -> str:
        return "model" if self._modelled(known) else "sobol"

    @property
    def _enough(self) -> int:
        """Measurements before there is a model."""
        return _START

    def _modelled(self, known: Known) -> bool:
        return bool(self.space.parameters) and len(list(known.measured())) >= self._enough

    def _promising(self, known: Known) -> list[Point]:
        """Return points in the order of the criterion."""
        seed = Random(f"{self.seed} {known.number}").getrandbits(31)
        with reproducible(seed):
            rows = self._learnt(known)
            process = self._process(rows)
            acquisition = qLogNoisyExpectedImprovement(
                process,
                self._inputs([row[:2] for row in rows]),
                SobolQMCNormalSampler(torch.Size([_MC_SAMPLES]), seed=seed),
                X_pending=self._inputs(known.pending) if known.pending else None,
            )
            best = [row[0] for row in sorted(rows, key=lambda row: row[2])]
            return self._ranked(acquisition, best[:_CENTRES])

    def _ranked(self, acquisition: AcquisitionFunction, best: Sequence[Point]) -> list[Point]:
        """Return points, the most promising first; some of them are near the best ones."""

        def promise(points: Sequence[Point]) -> Tensor:
            values = torch.full((len(points),), -math.inf, dtype=torch.float64)
            schedules = [(i, point, self._rough_schedule(point)) for i, point in enumerate(points)]
            reached = [(i, (point, found)) for i, point, found in schedules if found is not None]
            if reached:
                inputs = self._inputs([pair for _, pair in reached])
                values[[i for i, _ in reached]] = values_of(acquisition, inputs)
            return values

        return most_promising(self.space, promise, best, self.seed)

    def _inputs(self, pairs: Sequence[tuple[Point, Schedule]]) -> Tensor:
        """Return what the process knows points with their schedules by, shape (points, d)."""
        return curves([schedule for _, schedule in pairs], self.first)

    def _rough_schedule(self, point: Point) -> Schedule | None:
        """Return about the schedule of a point; None if it does not reach the budget."""
        budget, values = self._within(point)
        spec = (self.family, self._rough_cost, budget.amount, self.shape)
        return rough_schedule(*spec, tuple(values.items()))

    @cached_property
    def _rough_cost(self) -> RoughCost:
        return RoughCost.of(self.budget.cost(self.shape, self.tokens), self.layers, self.first)

    def _process(self, rows: Sequence[Row]) -> SingleTaskGP:
        """Return the process of the contrasted drops."""
        return fitted(
            self._inputs([row[:2] for row in rows]), *contrasted([row[2:] for row in rows])
        )

    def _learnt(self, known: Known) -> list[Row]:
        """Return what the process learns: measured points, and guesses for pruned ones."""
        rows = list(known.measured())
        pruned = [(point, one) for point, one in known.answered if one.state is TrialState.PRUNED]
        if not pruned:
            return rows
        measured = self._comparable(trial for _, trial in known.answered)
        least, spread = _scale([drop for _, _, drop, _ in rows])
        unsure = median_low(error for *_, error in rows)
        inputs = self._inputs([(point, trial.schedule) for point, trial in pruned])
        means = self._process(rows).posterior(inputs).mean[:, 0].tolist()
        for (point, trial), mean in zip(pruned, means, strict=True):
            known_then = [costs(one)[1] for one in self._before(measured, trial.number)]
            bound = min(known_then, default=least) + _MARGIN * spread
            lost = max(bound, least - spread + math.exp(-mean))
            rows.append((point, trial.schedule, lost, unsure))
        return rows


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
