"""Budgets: what a schedule may cost, and the costliest schedule of a curve within one."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NoReturn, Self

from schedsearch.core.canonical import is_number
from schedsearch.core.flops import (
    Cost,
    DecoderShape,
    SampleTokens,
    flops_cost,
    flops_ratio,
    kv_cost,
)
from schedsearch.core.schedule import Schedule, reducible_layers
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

CostMaker = Callable[[DecoderShape, Sequence[SampleTokens]], Cost]


@dataclass(frozen=True)
class Measure:
    """What budgets are in. Equal measures cost the same.

    Attributes:
        name: What studies call it.
        unit: What a limit is, in words.
        cost: Makes, for a language model and the samples, the function of a schedule that says what
            it costs. That must not fall when a ratio of the schedule grows. A function equals
            itself alone; an object with `__call__` may compare by its content.
        shares: Whether amounts are shares: in [0, 1].
    """

    name: str
    unit: str
    cost: CostMaker
    shares: bool = True


def _mean_keep(_shape: DecoderShape, _tokens: Sequence[SampleTokens]) -> Cost:
    return lambda schedule: fmean(schedule.keep)


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("flops", "FLOPs ratio", flops_cost),
        Measure("feasible", "FLOPs ratio", flops_cost),
        Measure("kv", "KV cache ratio", kv_cost),
        Measure("mean_keep", "mean keep ratio", _mean_keep),
    )
}


@dataclass(frozen=True, init=False)
class Budget:
    """The most that a schedule may cost.

    Attributes:
        measure: One of MEASURES, which its name stands for, or another. `flops`: FLOPs ratio as
            `flops_cost` defines it. `feasible`: share of the way from the least FLOPs ratio that
            any schedule reaches to 1. `kv`: bytes of the KV cache after prefill, as `kv_cost`
            defines them. `mean_keep`: mean of `keep` over all layers. For milliseconds see
            `LatencyModel.measure`.
        amount: In that measure.

    Raises:
        InputError: No measure has that name, or the amount is out of range.
    """

    measure: Measure
    amount: float

    def __init__(self, measure: Measure | str, amount: float) -> None:
        known = measure if isinstance(measure, Measure) else MEASURES.get(measure)
        if known is None:
            _refuse_measure(measure)
        most = 1.0 if known.shares else math.inf
        if not (is_number(amount) and 0 <= amount <= most):
            raise InputError(
                f"a budget in {known.name} must be a number in [0, {most:g}], but got "
                f"{shown(amount)}; choose one inside"
            )
        object.__setattr__(self, "measure", known)
        object.__setattr__(self, "amount", amount)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the budget written as a mapping with one key, or as text: `flops: 0.4`.

        Raises:
            InputError: It is anything else.
        """
        pairs = value
        if isinstance(value, str):
            measure, _, amount = value.partition(":")
            try:
                pairs = {measure.strip(): float(amount)}
            except ValueError:
                _refuse(value)
        if not isinstance(pairs, Mapping) or len(pairs) != 1:
            _refuse(value)
        ((measure, amount),) = pairs.items()
        return cls(measure, amount)

    def cost(self, shape: DecoderShape, tokens: Sequence[SampleTokens]) -> Cost:
        """Return what a schedule costs over the samples, in the unit of `limit`."""
        return self.measure.cost(shape, tokens)

    def limit(self, shape: DecoderShape, tokens: Sequence[SampleTokens], first: int = 2) -> float:
        """Return the greatest cost allowed.

        Args:
            shape: The language model.
            tokens: The samples over which the cost is taken.
            first: First layer that may process fewer vision tokens than there are; only the
                measure `feasible` depends on it.
        """
        if self.measure == MEASURES["feasible"]:
            least, most = feasible_range(shape, tokens, first)
            return min(most, least + self.amount * (most - least))  # rounding must not leave it
        return self.amount

    def absolute(
        self, shape: DecoderShape, tokens: Sequence[SampleTokens], first: int = 2
    ) -> "Budget":
        """Return the same budget in the unit of the cost: `feasible` in `flops`, others as is."""
        feasible = self.measure == MEASURES["feasible"]
        measure = MEASURES["flops"] if feasible else self.measure
        return Budget(measure, self.limit(shape, tokens, first))

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return f"{self.measure.name}: {self.amount!r}"


def _refuse(value: object) -> NoReturn:
    raise InputError(
        f"a budget must be one of {', '.join(MEASURES)}, with a number, but got {shown(value)}; "
        f"write `flops: 0.4` for 40 % of the full model's decoder FLOPs"
    )


def _refuse_measure(measure: object) -> NoReturn:
    more = "; milliseconds need a latency profile" if measure == "milliseconds" else ""
    raise InputError(
        f"a budget must be one of {', '.join(MEASURES)}, but got {shown(measure)}{more}; choose one"
    )


def feasible_range(
    shape: DecoderShape, tokens: Sequence[SampleTokens], first: int = 2, floor: float = 0.0
) -> tuple[float, float]:
    """Return the least and the greatest FLOPs ratio that any schedule reaches.

    Args:
        shape: The language model.
        tokens: The samples over which ratios are taken.
        first: First layer that may process fewer vision tokens than there are.
        floor: Share of the vision tokens that no layer goes below.

    Raises:
        InputError: `first` is not a layer.
    """
    tail = reducible_layers(first, shape.layers)
    least = Schedule((1.0,) * first + (floor,) * len(tail))
    return flops_ratio(shape, least, tokens), 1.0


def solve_budget(
    curve: Callable[[float], Schedule],
    budget: Budget,
    shape: DecoderShape,
    tokens: Sequence[SampleTokens],
    first: int = 2,
    spare: float = 0.0,
) -> Schedule:
    """Return the costliest schedule of a curve that is within the budget.

    It never costs more than the budget, and where the curve is continuous one more vision token in
    every layer would.

    Args:
        curve: Maps 0 to 1 to schedules; no layer's ratio may fall when the argument grows.
        budget: The most that the schedule may cost.
        shape: The language model.
        tokens: The samples over which the cost is taken.
        first: First layer that may process fewer vision tokens than there are.
        spare: The share of what there is to choose that may be left over; it takes fewer steps.

    Raises:
        InputError: The budget is outside what the curve reaches; the message names the range.
    """
    cost, limit = budget.cost(shape, tokens), budget.limit(shape, tokens, first)
    lengths = sorted({sample.n_vision for sample in tokens if sample.n_vision})

    def candidate(share: float) -> Schedule:
        return _on_grid(curve(share), lengths)

    low, high = 0.0, 1.0
    best, most = candidate(low), candidate(high)
    least, greatest = cost(best), cost(most)
    if not least <= limit <= greatest:
        unit = budget.measure.unit
        what = f"a {unit}" if budget.measure.shares else unit
        reach = _rounded_inward(least, greatest)
        raise InputError(
            f"`budget` must be {what} in {reach}, which this family can reach with these "
            f"parameters, but got {shown(limit)}; choose one inside, or other parameters"
        )
    if greatest <= limit:
        return most
    enough = limit - spare * (limit - least)
    # 2**-50 of the range moves no layer of any prompt by more than one token.
    for _ in range(50):
        middle = (low + high) / 2
        schedule = candidate(middle)
        used = cost(schedule)
        if used <= limit:
            low, best = middle, schedule
            if enough < used:
                break
        else:
            high = middle
    return best


def _on_grid(schedule: Schedule, lengths: Iterable[int]) -> Schedule:
    """Return the schedule with each ratio written as k / n of the prompts it was solved for.

    Bisection ends at the upper edge of a count, inside the slack of `kept_count`; on a prompt of
    another length such a ratio would keep a token more than the plain fraction does.
    """
    grids = [[count / n for count in schedule.counts(n)] for n in lengths]
    if not grids:
        return schedule
    keep = tuple(min(layer) for layer in zip(*grids, strict=True))
    return Schedule(keep, schedule.ranker, schedule.target)


def _rounded_inward(low: float, high: float) -> str:
    """Return the range in four digits, so that both ends shown are themselves inside it."""
    return f"[{math.ceil(low * 1e4) / 1e4}, {math.floor(high * 1e4) / 1e4}]"
