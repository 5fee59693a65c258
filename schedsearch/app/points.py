"""Trials as bytes, for pictures of thousands of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from schedsearch.app.study_view import StudyView
from schedsearch.core.budget import MEASURES
from schedsearch.core.pareto import Costs, costs, full, pareto
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a result of a study must keep to.

    Attributes:
        cost: Greatest cost, in the unit of the study's costs; None where there is none.
        drop: Greatest drop, in the unit of the metric; None where there is none.
    """

    cost: float | None
    drop: float | None

    def hold(self, pair: Costs) -> bool:
        """Say whether cost and drop are within the limits."""
        cost, drop = pair
        return (self.cost is None or cost <= self.cost * (1 + 1e-9)) and (
            self.drop is None or drop <= self.drop + 1e-12
        )


def limits(view: StudyView) -> Limits:
    """What the result of a study must keep to, where that can be said in its costs."""
    sampler, facts = view.sampler, view.spec.facts
    drop = getattr(sampler, "tolerance", None)
    drop = getattr(sampler, "max_drop", None) if drop is None else drop
    budget = getattr(sampler, "budget", None)
    if sampler.name == "frontier" or budget is None:
        return Limits(None, drop)
    try:
        absolute = budget.absolute(facts.decoder, facts.samples(), sampler.first)
    except InputError:
        return Limits(None, drop)
    return Limits(absolute.amount if absolute.measure == MEASURES["flops"] else None, drop)


OPEN, WITHIN, BEYOND, UNKNOWN, FRONT, BEST = 0, 1, 2, 3, 4, 8
"""What a byte of `kinds` says; the last two are added."""


def points(
    trials: Sequence[Trial],
    within: Limits,
    best: Trial | None,
    cost: Callable[[Trial], Costs] = costs,
) -> bytes:
    """Costs, drops and kinds of all trials, by number: float32, float32, then bytes.

    Args:
        trials: By number, from 0 on.
        within: What a result must keep to.
        best: The result so far.
        cost: Cost and drop of a trial that was measured on all samples.
    """
    table = np.full((2, len(trials)), np.nan, np.float32)
    kinds = np.full(len(trials), UNKNOWN, np.uint8)
    for at, trial in enumerate(trials):
        if full(trial) is not None:
            pair = cost(trial)
            table[:, at] = pair
            kinds[at] = WITHIN if within.hold(pair) else BEYOND
        elif not trial.state.finished:
            kinds[at] = OPEN
    for trial in pareto(trials, cost):
        kinds[trial.number] |= FRONT
    if best is not None:
        kinds[best.number] |= BEST
    return table.astype("<f4").tobytes() + kinds.tobytes()


def keeps(trials: Sequence[Trial]) -> bytes:
    """Keep ratios of all trials, 0 to 255, trial after trial."""
    table = np.array([trial.schedule.keep for trial in trials], np.float64)
    return np.rint(255 * table).astype(np.uint8).tobytes()
