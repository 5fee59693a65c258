"""Bayesian optimisation of a family's parameters under a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from schedsearch.core.pareto import costs
from schedsearch.core.trial import Trial
from schedsearch.samplers.known import Known, Point, next_number
from schedsearch.samplers.model_based import ModelBased

if TYPE_CHECKING:
    from schedsearch.samplers.least_drop import LeastDrop

_START = 4


@dataclass(frozen=True, kw_only=True)
class Bayes(ModelBased):
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

    @property
    def _enough(self) -> int:
        return _START

    def _objective(self, known: Known) -> "LeastDrop":
        from schedsearch.samplers.least_drop import LeastDrop

        return LeastDrop(known, self.first, partial(self._least, known))

    def expected(
        self, history: Sequence[Trial], points: Sequence[Point]
    ) -> list[tuple[float, float, float] | None]:
        """Return median and 90 % interval of the drop at each point, as the process knows it.

        None for a point that does not reach the budget.

        Args:
            history: At least 4 measurements.
            points: Of the space.
        """
        from schedsearch.samplers.surrogate import reproducible

        objective = self._objective(self._known(history, next_number(history)))
        schedules = map(self._rough_schedule, points)
        pairs = zip(points, schedules, strict=True)
        places = [(point, one) if one is not None else None for point, one in pairs]
        with reproducible(self.seed):
            told = iter(objective.expected([one for one in places if one is not None]))
        return [None if one is None else next(told) for one in places]

    def _least(self, known: Known, number: int) -> float | None:
        """Return the least drop that the trial with this number may know."""
        measured = self._comparable(trial for _, trial in known.answered)
        return min((costs(one)[1] for one in self._before(measured, number)), default=None)
