"""Bayesian optimisation of two objectives at once: little lost, at little cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf
from typing import TYPE_CHECKING, ClassVar

from schedsearch.core.budget import MEASURES, Budget
from schedsearch.core.canonical import is_number
from schedsearch.core.flops import Cost
from schedsearch.core.pareto import Costs, costs, full, pareto, reference
from schedsearch.core.schedule import Schedule
from schedsearch.core.shown import shown
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.known import Known
from schedsearch.samplers.model_based import ModelBased

if TYPE_CHECKING:
    from schedsearch.samplers.hypervolume import Hypervolume

_MOST_START = 12


@dataclass(frozen=True, kw_only=True)
class Frontier(ModelBased):
    """Asks where the frontier of drop and cost may advance furthest; `budget` is searched too.

    The criterion is qLogNoisyExpectedHypervolumeImprovement (arXiv 2105.08195, 2310.20708) with
    the open trials pending. The drop is a Gaussian process like that of `Bayes`, which knows a
    point by its cost too; to lose less than nothing is worth no more than to lose nothing, else the
    unknown corners of a space where nothing is lost anyway would promise most. The cost needs no
    model: it is the budget. A pruned trial, of which a bound alone is known, is taken to have lost
    the median of the drops measured at no more cost. The start is that of `Bayes`, up to 2 (d + 1)
    measurements in d dimensions, 12 at most.

    BoTorch's C++ kernel for the criterion is not used, see `interpreted`: no compiler is needed.
    A trial is stopped where one that it may know is better and no dearer.

    Attributes:
        budget: The greatest budget to ask for: in `flops` or `feasible`, and the cost is the FLOPs
            ratio; or with a cost of its own, such as milliseconds.
        max_drop: What the best trial may lose, in the unit of the metric.
        reference_drop: A trial that loses this much or more adds nothing to the frontier. Default:
            half of the greatest drop in the start, see `schedsearch.core.pareto.reference`.

    Raises:
        InputError: A setting is out of its range, or a start is no point of the space.
    """

    budget: Budget = Budget("flops", 1.0)
    max_drop: float = 0.0
    reference_drop: float | None = None

    name: ClassVar[str] = "frontier"

    def __post_init__(self) -> None:
        measure = self.budget.measure
        if measure in (MEASURES["kv"], MEASURES["mean_keep"]):
            raise InputError(
                f"`budget` must be in flops, feasible or milliseconds, of which a frontier is "
                f"made, but got {measure.name}; leave it out to search all budgets"
            )
        if not (is_number(self.max_drop) and self.max_drop >= 0):
            raise InputError(
                f"`max_drop` must be a number from 0 up, but got {shown(self.max_drop)}; write "
                f"what the result may lose, in the unit of the metric"
            )
        worst = self.reference_drop
        if worst is not None and not (is_number(worst) and 0 < worst < inf):
            raise InputError(
                f"`reference_drop` must be a number above 0, but got {shown(worst)}; "
                f"leave it out, or write which drop is worth nothing"
            )
        if self._budgets.high < self._budgets.low:
            raise InputError(
                f"`budget` must be at least {self._budgets.low:.4f}, the least that any schedule "
                f"reaches, but got {self._budgets.high}; leave it out to search all budgets"
            )
        super().__post_init__()

    @property
    def space(self) -> Space:
        """What is searched: the family's parameters and `budget`."""
        return Space((*super().space.parameters, self._budgets))

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the cheapest trial among those that have lost at most `max_drop`.

        Where none has, the one that has lost least. Only trials within the budget count.
        """
        most = self._budgets.high
        trials = pareto(self._comparable(history), self.costs)
        front = [trial for trial in trials if self.costs(trial)[0] <= most]
        cheap = (trial for trial in front if self.costs(trial)[1] <= self.max_drop)
        return next(cheap, front[-1] if front else None)

    def costs(self, trial: Trial) -> Costs:
        """Return cost and drop of a trial that was measured on all samples."""
        return self._cost(trial.schedule), costs(trial)[1]

    def reference(self, history: Sequence[Trial]) -> Costs:
        """Return cost and drop from which on a trial is worth nothing.

        Once there is a model it changes no more.
        """
        trials = sorted(history, key=lambda trial: trial.number)
        return self._reference([one for one in trials if self._point(one) is not None])

    @property
    def _enough(self) -> int:
        return min(2 * (len(self.space.parameters) + 1), _MOST_START)

    @cached_property
    def _budgets(self) -> Parameter:
        first = self.family.first
        nothing = Schedule((1.0,) * first + (0.0,) * (self.shape.layers - first))
        return Parameter("budget", self._cost(nothing), min(self._absolute.amount, self._full))

    @cached_property
    def _cost(self) -> Cost:
        return lru_cache(maxsize=1024)(self.budget.cost(self.shape, self.tokens))

    @cached_property
    def _full(self) -> float:
        """Cost of the full model."""
        return self._cost(Schedule.full(self.shape.layers))

    def _within(self, point: Mapping[str, float]) -> tuple[Budget, Mapping[str, float]]:
        values = dict(point)
        return Budget(self._absolute.measure, values.pop("budget")), values

    def _objective(self, known: Known) -> "Hypervolume":
        from schedsearch.samplers.hypervolume import Hypervolume

        _, worst = self._reference([trial for _, trial in known.answered])
        return Hypervolume(known, self.first, self._cost, self._budgets, self._full, worst)

    def _beaten(self, known: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether one that is known is better and no dearer, so that the trial is dominated."""
        own = self._cost(trial.schedule)
        others = map(self.costs, self._comparable(known))
        return any(cost <= own and drop < least_drop for cost, drop in others)

    def _reference(self, trials: Iterable[Trial]) -> Costs:
        """Return the reference that follows from the first trials that were measured."""
        if self.reference_drop is not None:
            return self._full, self.reference_drop
        drops = [costs(trial)[1] for trial in trials if full(trial)]
        return self._full, reference(drops[: self._enough])[1]
