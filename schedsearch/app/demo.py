"""The embedded model: measured, and trained anew."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schedsearch.app.apply import Progress
from schedsearch.app.bootstrap import DEMO, DataRef, open_model, open_samples
from schedsearch.core import intervals
from schedsearch.core.intervals import Interval
from schedsearch.core.trial import Task

if TYPE_CHECKING:
    from schedsearch.demo.train import Progress as TrainingProgress


@dataclass(frozen=True)
class DemoAccuracy:
    """Accuracy of the embedded model, overall and by kind of question."""

    data: str
    overall: Interval
    kinds: dict[str, Interval]


def evaluate_demo(split: str, samples: int, progress: Progress) -> DemoAccuracy:
    """Answer the first `samples` questions of a split with the full model.

    Raises:
        DataError: No such split.
    """
    from schedsearch.engine.evaluator import Evaluator
    from schedsearch.engine.metrics import make_metric

    data = open_samples(DataRef(f"{DEMO}:{split}", samples))
    model, processor = open_model(DEMO)
    evaluator = Evaluator(model, processor, data, make_metric("exact_match"))
    listed = list(data)
    task = Task(evaluator.full_schedule, data.split, tuple(sample.id for sample in listed))
    scores = evaluator.evaluate(task, progress("questions"))
    hits: dict[str, list[int]] = {}
    for sample, score in zip(listed, scores, strict=True):
        hits.setdefault(sample.kind, []).append(int(score.score))
    right = sum(map(sum, hits.values()))
    return DemoAccuracy(
        data=data.name,
        overall=intervals.proportion(right, len(listed)),
        kinds={kind: intervals.proportion(sum(found), len(found)) for kind, found in hits.items()},
    )


def train_demo(out: Path, steps: int | None, seed: int, threads: int, progress: Progress) -> Path:
    """Train the embedded model anew, or continue a run that was interrupted.

    Returns:
        The checkpoint folder.

    Raises:
        InputError: The state in `out` cannot be read or belongs to another recipe.
    """
    from schedsearch.demo.recipe import Recipe
    from schedsearch.demo.train import log_progress, train

    bars: dict[str, Callable[[int, int], None]] = {}

    def report(now: "TrainingProgress") -> None:
        log_progress(now)
        if now.stage not in bars:
            bars[now.stage] = progress(now.stage)
        bars[now.stage](now.step, now.steps)

    return train(out, steps=steps or Recipe.steps, seed=seed, threads=threads, report=report)
