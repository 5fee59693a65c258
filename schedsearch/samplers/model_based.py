"""What samplers share that ask a model, once there are enough measurements for one."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial
from schedsearch.samplers.budgeted import TRIES, Budgeted
from schedsearch.samplers.known import Known, Point
from schedsearch.samplers.rough_cost import RoughCost, rough_schedule

if TYPE_CHECKING:
    from schedsearch.samplers.objective import Objective


@dataclass(frozen=True, kw_only=True)
class ModelBased(Budgeted):
    """Asks what an objective promises most of; before, the middle of the space and Sobol points.

    Nothing but asking needs torch and BoTorch, so nothing else loads them: that takes seconds.
    """

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether the trial can no longer become the best, once there are enough to learn from.

        What a person has asked for is measured to its end.
        """
        enough = self._modelled(self._known(history, trial.number))
        return enough and super().hopeless(history, trial, least_drop)

    @property
    @abstractmethod
    def _enough(self) -> int:
        """Measurements before there is a model."""

    @abstractmethod
    def _objective(self, known: Known) -> "Objective":
        """Return what decides a question, once there is a model."""

    def _modelled(self, known: Known) -> bool:
        return bool(self.space.parameters) and len(known.measured()) >= self._enough

    def _phase(self, known: Known) -> str:
        return "model" if self._modelled(known) else "sobol"

    def _candidates(self, known: Known) -> Iterator[Point]:
        if self._modelled(known):
            from schedsearch.samplers.objective import promising

            own = Random(f"{self.seed} {known.number}").getrandbits(31)
            objective = self._objective(known)
            yield from promising(objective, self.space, self._rough_schedule, self.seed, own)
        else:
            from schedsearch.samplers.surrogate import sobol

            yield {each.name: each.at(0.5) for each in self.space.parameters}
            yield from sobol(self.space, self.seed, known.asked, TRIES)

    def _rough_schedule(self, point: Point) -> Schedule | None:
        """Return about the schedule of a point; None if it does not reach the budget."""
        budget, values = self._within(point)
        spec = (self.family, self._rough_cost, budget.amount, self.shape)
        return rough_schedule(*spec, tuple(values.items()))

    @cached_property
    def _rough_cost(self) -> RoughCost:
        return RoughCost.of(self.budget.cost(self.shape, self.tokens), self.layers, self.first)
