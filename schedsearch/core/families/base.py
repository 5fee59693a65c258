"""What a family is, and how one of its parameters is solved from a budget.

To add one: a frozen dataclass in its own file that gives `name`, `_free`, `_solved` and `_curve`,
and its line in FAMILIES (`__init__.py`), which the tests of all families read.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schedsearch.core.budget import Budget, solve_budget
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import RankerSpec, Schedule, reducible_layers
from schedsearch.core.shown import shown
from schedsearch.core.space import Parameter, Space
from schedsearch.errors import InputError


@dataclass(frozen=True)
class Family(ABC):
    """A way to write schedules with few parameters, one of which a budget determines.

    Attributes:
        first: First layer that may process fewer vision tokens than there are.
    """

    first: int = 2
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.first, int):
            raise InputError(
                f"`first` must be a layer, but got {shown(self.first)}; write its number"
            )

    def space(self, layers: int) -> Space:
        """Return the parameters to search for a model of `layers` decoder layers.

        Raises:
            InputError: The model has no layer `first`.
        """
        return Space(self._free(reducible_layers(self.first, layers)))

    def solved(self, layers: int) -> Parameter:
        """Return the parameter that a budget determines; no ratio falls when it grows.

        Raises:
            InputError: The model has no layer `first`.
        """
        return self._solved(reducible_layers(self.first, layers))

    def at(
        self, point: Mapping[str, float], layers: int, ranker: RankerSpec | None = None
    ) -> Schedule:
        """Return the schedule at a value of every parameter, the solved one included.

        Raises:
            InputError: A parameter is missing, unknown or out of bounds.
        """
        parameters = self.space(layers).parameters
        return self._build(
            Space((*parameters, self.solved(layers))).check(point), layers, ranker or RankerSpec()
        )

    def schedule(
        self,
        params: Mapping[str, float],
        budget: Budget,
        shape: DecoderShape,
        tokens: Sequence[SampleTokens],
        ranker: RankerSpec | None = None,
        spare: float = 0.0,
    ) -> Schedule:
        """Return the family's schedule that uses the budget up, exact to one token per layer.

        Where the solved parameter is an integer, it is exact to one step of that parameter.

        Args:
            params: A point of `space`.
            budget: The most that the schedule may cost; it never costs more.
            shape: The language model.
            tokens: The samples over which the cost is taken.
            ranker: Orders the tokens; `last` by default.
            spare: The share of what there is to choose that may be left over, to be faster.

        Raises:
            InputError: The budget is outside the range that the family reaches with `params`,
                which the message names, or `params` do not fit.
        """
        solved = self.solved(shape.layers)
        if solved.name in params:
            raise InputError(
                f"`{solved.name}` of family {self.name} follows from the budget, but got "
                f"{params[solved.name]}; leave it out"
            )
        values = self.space(shape.layers).check(params)
        spec = ranker or RankerSpec()
        return solve_budget(
            lambda share: self._build(
                {**values, solved.name: solved.at(share)}, shape.layers, spec
            ),
            budget,
            shape,
            tokens,
            self.first,
            spare,
        )

    def read(self, _keep: Sequence[float]) -> dict[str, float] | None:
        """Return the point of `space` that gives these ratios, where any ratios have one."""
        return None

    @abstractmethod
    def _free(self, cuts: range) -> tuple[Parameter, ...]:
        """Return what is searched; `cuts` are the layers from `first` to the last."""

    @abstractmethod
    def _solved(self, cuts: range) -> Parameter:
        """Return what the budget determines."""

    @abstractmethod
    def _curve(self, values: Mapping[str, float], cuts: range) -> Sequence[float]:
        """Return the ratio of each layer in `cuts`, continuous in the solved parameter."""

    def _build(self, values: Mapping[str, float], layers: int, ranker: RankerSpec) -> Schedule:
        cuts = reducible_layers(self.first, layers)
        return Schedule((1.0,) * self.first + tuple(self._curve(values, cuts)), ranker)


def depths(cuts: range) -> list[float]:
    """Return each layer's depth: 0 at `first`, 1 at the last; 1/2 where there is only one."""
    last = len(cuts) - 1
    return [i / last if last else 0.5 for i in range(len(cuts))]
