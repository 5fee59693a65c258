"""Bayesian optimisation of a family's parameters under a budget."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median, median_low
from typing import ClassVar

import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.sampling.normal import SobolQMCNormalSampler

from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.budgeted import TRIES, Budgeted, Known, Point
from schedsearch.samplers.surrogate import fitted, in_cube, most_promising, reproducible, sobol

_MOST_START = 12
_CENTRES = 4
_MC_SAMPLES = 64
_CONTRAST = 0.3


@dataclass(frozen=True, kw_only=True)
class Bayes(Budgeted):
    """Asks where a Gaussian process of the drop promises the greatest improvement.

    The criterion is qLogNoisyExpectedImprovement (arXiv 2310.20708) with the open trials pending.
    A drop counts as exact: all trials read the same samples, and what other samples would change,
    they would change alike for schedules that are near. What is modelled is the drop's logarithm
    (see `contrasted`), so that the worst trials do not hide what distinguishes the best. Until
    there are 2 (d + 1) measurements in d dimensions, 12 at most, the points of a scrambled Sobol
    sequence are asked, and no trial is stopped. A pruned trial, of which a bound alone is known, is
    taken to have lost the median of the measured drops.
    """

    name: ClassVar[str] = "bayes"

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether the trial can no longer become the best, once there are enough to learn from.

        What a person has asked for is measured to its end.
        """
        enough = self._modelled(self._known(history, trial.number))
        return enough and super().hopeless(history, trial, least_drop)

    def _candidates(self, known: Known) -> Iterator[Point]:
        if not self._modelled(known):
            return iter(sobol(self.space, self.seed, known.asked, TRIES))
        return iter(self._promising(known))

    def _phase(self, known: Known) -> str:
        return "model" if self._modelled(known) else "sobol"

    @property
    def _enough(self) -> int:
        """Measurements before there is a model."""
        return min(2 * (len(self.space.parameters) + 1), _MOST_START)

    def _modelled(self, known: Known) -> bool:
        return bool(self.space.parameters) and len(list(known.measured())) >= self._enough

    def _promising(self, known: Known) -> list[Point]:
        """Return points in the order of the criterion."""
        rows = self._learnt(known)
        drops = [drop for _, drop in rows]
        seed = Random(f"{self.seed} {known.number}").getrandbits(31)
        with reproducible(seed):
            inputs = in_cube(self.space, (point for point, _ in rows))
            acquisition = qLogNoisyExpectedImprovement(
                fitted(inputs, contrasted(drops), [None] * len(drops)),
                inputs,
                SobolQMCNormalSampler(torch.Size([_MC_SAMPLES]), seed=seed),
                X_pending=in_cube(self.space, known.pending) if known.pending else None,
            )
            order = sorted(range(len(drops)), key=drops.__getitem__)
            return most_promising(self.space, acquisition, inputs[order[:_CENTRES]], seed)

    def _learnt(self, known: Known) -> list[tuple[Point, float]]:
        """Return points and their drops."""
        rows = [(point, drop) for point, _, drop in known.measured()]
        middle = median_low(drop for _, drop in rows)
        pruned = [point for point, trial in known.answered if trial.state is TrialState.PRUNED]
        return [*rows, *((point, middle) for point in pruned)]


def contrasted(drops: Sequence[float]) -> list[float]:
    """Return values, the greatest for the least drop, in which small drops lie far apart.

    -log(drop - least + s), where s is `_CONTRAST` of the way from the least to the median drop.
    Neither the unit of the drops nor where they begin changes the differences of the values.
    """
    least = min(drops)
    spread = _CONTRAST * (median(drops) - least) or max(drops) - least or 1.0
    return [-math.log(drop - least + spread) for drop in drops]
