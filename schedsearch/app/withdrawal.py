"""Accuracy when all vision leaves at one layer: where a model still needs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.families.step import Step
from schedsearch.core.flops import flops_ratio
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Evaluated, Task
from schedsearch.errors import RunError
from schedsearch.execution.executor import Executor, evaluated

_CHUNK = 64


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
    workers: Executor, subject: Subject, on_progress: Callable[[int, int], None]
) -> tuple[Withdrawal, ...]:
    """Evaluate withdrawal from each layer on, 1 to the last, with the baseline at equal FLOPs.

    Raises:
        RunError: A schedule cannot be evaluated.
    """
    step, shape, tokens, rows = Step(first=1), subject.shape, subject.tokens, []
    parts = [subject.ids[start : start + _CHUNK] for start in range(0, len(subject.ids), _CHUNK)]
    total = 2 * shape.layers * len(subject.ids)
    for layer in range(1, shape.layers + 1):
        keep = (1.0,) * layer + (0.0,) * (shape.layers - layer)
        schedule = Schedule(keep, RankerSpec("uniform"))
        ratio = flops_ratio(shape, schedule, tokens)
        budget = Budget("flops", ratio)
        baseline = step.schedule({"layer": 1}, budget, shape, tokens, RankerSpec("random"))
        before = 2 * (layer - 1) * len(subject.ids)

        def tell(done: int, _all: int, before: int = before) -> None:
            on_progress(before + done, total)

        tasks = [Task(one, subject.split, part) for one in (schedule, baseline) for part in parts]
        found = evaluated(workers, tasks, tell)
        failure = next((one.failure for one in found if one.failure), "")
        if failure:
            raise RunError(failure)
        values = [[s.score for one in half for s in one.scores] for half in _halves(found)]
        rows.append(Withdrawal(layer, ratio, *map(intervals.of_scores, values)))
    return tuple(rows)


def _halves(found: Sequence[Evaluated]) -> tuple[Sequence[Evaluated], Sequence[Evaluated]]:
    middle = len(found) // 2
    return found[:middle], found[middle:]
