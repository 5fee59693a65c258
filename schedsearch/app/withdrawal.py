"""Accuracy when all vision leaves at one layer: where a model still needs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.families.step import Step
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import Split
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Task


@dataclass(frozen=True)
class Withdrawal:
    """All vision tokens leave before one layer.

    Attributes:
        layer: First layer without vision tokens; the number of layers means that none leaves.
        flops_ratio: Decoder FLOPs against the full model.
        score: Metric on the samples.
        random: Metric when the same FLOPs are saved by random tokens that leave at layer 1.
    """

    layer: int
    flops_ratio: float
    score: Interval
    random: Interval


def withdraw_vision(
    evaluator: Any,
    split: Split,
    ids: tuple[str, ...],
    shape: DecoderShape,
    tokens: Sequence[SampleTokens],
    on_progress: Callable[[int, int], None],
) -> tuple[Withdrawal, ...]:
    """Evaluate withdrawal from each layer on, 1 to the last, with the baseline at equal FLOPs."""
    rows = []
    step = Step(first=1)
    for layer in range(1, shape.layers + 1):
        done, total = 2 * (layer - 1) * len(ids), 2 * shape.layers * len(ids)

        def scores(schedule: Schedule, offset: int = done, total: int = total) -> Interval:
            found = evaluator.evaluate(
                Task(schedule, split, ids),
                lambda now, _all: on_progress(offset + now, total),
            )
            return intervals.of_scores([score.score for score in found])

        keep = (1.0,) * layer + (0.0,) * (shape.layers - layer)
        schedule = Schedule(keep, RankerSpec("uniform"))
        ratio = flops_ratio(shape, schedule, tokens)
        budget = Budget("flops", ratio)
        baseline = step.schedule({"layer": 1}, budget, shape, tokens, RankerSpec("random"))
        score = scores(schedule)
        rows.append(Withdrawal(layer, ratio, score, scores(baseline, done + len(ids))))
    return tuple(rows)
