"""What a family is, and how one of its parameters is solved from a budget.

To add one: a frozen dataclass in its own file with the members of `Family`, and its name in the
list of tests/unit/core/test_families.py.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from schedsearch.core.flops import DecoderShape, SampleTokens, solve_budget
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.space import Space
from schedsearch.errors import InputError


class Family(Protocol):
    """A way to write schedules with few parameters."""

    @property
    def name(self) -> str:
        """The name under which studies ask for it."""

    @property
    def first(self) -> int:
        """First layer that may process fewer vision tokens than there are."""

    @property
    def solved(self) -> str:
        """The parameter that a budget determines; no ratio falls when it grows."""

    def space(self, layers: int) -> Space:
        """Return the parameters for a model of `layers` decoder layers, the solved one included.

        Every point of the space is a valid schedule.

        Raises:
            InputError: The model has no layer `first`.
        """

    def schedule(
        self, params: Mapping[str, float], layers: int, ranker: RankerSpec | None = None
    ) -> Schedule:
        """Return the schedule at a point of the space.

        Raises:
            InputError: A parameter is missing, unknown or out of bounds.
        """


def solve(
    family: Family,
    params: Mapping[str, float],
    budget: float,
    shape: DecoderShape,
    tokens: Sequence[SampleTokens],
    ranker: RankerSpec | None = None,
) -> Schedule:
    """Return the family's schedule that uses the budget up, exact to one token per layer.

    Args:
        family: Its `solved` parameter is determined here.
        params: All its other parameters.
        budget: FLOPs ratio as `flops_ratio` defines it; the schedule's is never above.
        shape: The language model.
        tokens: The samples over which the ratio is taken.
        ranker: Orders the tokens; `last` by default.

    Raises:
        InputError: The budget is outside the range that the family reaches with `params`, which
            the message names, or `params` do not fit.
    """
    if family.solved in params:
        raise InputError(
            f"`{family.solved}` of family {family.name} follows from the budget, but got "
            f"{params[family.solved]}; leave out the one or the other"
        )
    bounds = family.space(shape.layers)[family.solved]
    return solve_budget(
        lambda value: family.schedule({**params, family.solved: value}, shape.layers, ranker),
        bounds.low,
        bounds.high,
        budget,
        shape,
        tokens,
    )


def build(first: int, tail: Sequence[float], ranker: RankerSpec | None) -> Schedule:
    """Return the schedule that keeps everything before layer `first` and `tail` from there on."""
    return Schedule((1.0,) * first + tuple(tail), ranker or RankerSpec())
