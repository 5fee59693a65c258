"""The trials that no other beats in FLOPs and drop at once, and which of them to take."""

import math
from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import NoReturn

from schedsearch.core.shown import shown
from schedsearch.core.trial import Measurement, Trial
from schedsearch.errors import InputError

Costs = tuple[float, float]


def full(trial: Trial) -> tuple[Measurement, float] | None:
    """Return what was measured on all samples, and the drop; None where it was not."""
    found = trial.measurement
    if found is None or found.drop is None:
        return None
    return found, found.drop


def costs(trial: Trial) -> Costs:
    """Return FLOPs ratio and drop of a trial that was measured on all samples."""
    found = full(trial)
    assert found is not None, "not measured"
    measurement, drop = found
    return measurement.flops_ratio, drop


def pareto(trials: Iterable[Trial], cost: Callable[[Trial], Costs] = costs) -> list[Trial]:
    """Return the undominated trials, cost rising and drop falling.

    Trials on all samples count, whoever asked for them and with whichever ranker. Of trials equal
    in both the earliest is taken.

    Args:
        trials: In any order.
        cost: Cost and drop of a trial; default: FLOPs ratio and drop.
    """
    measured = sorted(filter(full, trials), key=attrgetter("number"))
    return [measured[i] for i in undominated(list(map(cost, measured)))]


def undominated(pairs: Sequence[Costs]) -> list[int]:
    """Return where the pairs stand than which none is less in one value and not more in the other.

    The first value rises. Of equal pairs the first one is taken.
    """
    found, least = list[int](), math.inf
    for (_, value), i in sorted(zip(pairs, range(len(pairs)), strict=True)):
        if not found or value < least:
            found.append(i)
            least = value
    return found


def within_budget(
    trials: Iterable[Trial], budget: float, cost: Callable[[Trial], Costs] = costs
) -> Trial:
    """Return the trial that loses least among those of at most this cost.

    Raises:
        InputError: There is none; the message names the least cost measured.
    """
    front = _front(trials, cost)
    fitting = [trial for trial in front if cost(trial)[0] <= budget]
    return fitting[-1] if fitting else _refuse("budget", budget, cost(front[0])[0])


def within_drop(
    trials: Iterable[Trial], max_drop: float, cost: Callable[[Trial], Costs] = costs
) -> Trial:
    """Return the cheapest trial among those that lose at most this much, in the metric.

    Raises:
        InputError: There is none; the message names the least drop measured.
    """
    front = _front(trials, cost)
    fitting = [trial for trial in front if cost(trial)[1] <= max_drop]
    return fitting[0] if fitting else _refuse("max_drop", max_drop, cost(front[-1])[1])


def hypervolume(
    trials: Iterable[Trial], reference: Costs, cost: Callable[[Trial], Costs] = costs
) -> list[float]:
    """Return the area that the trials so far dominate, after each trial by number.

    Args:
        trials: Those not measured on all samples add nothing.
        reference: Cost and drop at which a trial is worth nothing; the area lies below both.
        cost: As for `pareto`.
    """
    front: list[Costs] = []
    areas: list[float] = []
    area = 0.0
    for trial in sorted(trials, key=attrgetter("number")):
        if full(trial):
            flops, drop = cost(trial)
            cheaper = bisect(front, (flops, math.inf))  # the last of these loses least
            if not cheaper or front[cheaper - 1][1] > drop:
                pairs = [*front, (flops, drop)]
                front = [pairs[i] for i in undominated(pairs)]
                area = _area(front, reference)
        areas.append(area)
    return areas


def reference(drops: Sequence[float]) -> Costs:
    """Return FLOPs ratio and drop of a trial that is worth nothing, from drops all over a space.

    At FLOPs ratio 1 keep-all, which every search knows, loses nothing. A schedule that loses half
    as much as the worst one is no candidate; where none loses anything, any drop below 1 counts.
    """
    worst = max(drops, default=0.0)
    return 1.0, worst / 2 if worst > 0 else 1.0


def _area(front: Iterable[Costs], reference: Costs) -> float:
    area, ceiling = 0.0, reference[1]
    for flops, drop in front:
        if flops < reference[0] and drop < ceiling:
            area += (reference[0] - flops) * (ceiling - drop)
            ceiling = drop
    return area


def _front(trials: Iterable[Trial], cost: Callable[[Trial], Costs]) -> list[Trial]:
    front = pareto(trials, cost)
    if not front:
        raise InputError("no trial has been measured on all samples yet; search first")
    return front


def _refuse(name: str, value: float, least: float) -> NoReturn:
    what = "cost" if name == "budget" else "drop"
    raise InputError(
        f"`{name}` must be at least {shown(least)}, the least {what} of the trials, but got "
        f"{shown(value)}; allow that much, or search on"
    )
