"""The embedded models: measured, and trained anew."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from schedsearch.app.bootstrap import DataRef, Progress, open_model, open_samples
from schedsearch.core import intervals
from schedsearch.core.intervals import Interval
from schedsearch.core.trial import Task
from schedsearch.demo import DEMO, recipe_of

if TYPE_CHECKING:
    from schedsearch.demo.train import Progress as TrainingProgress


@dataclass(frozen=True)
class DemoAccuracy:
    """Accuracy of an embedded model, overall and by kind of question."""

    data: str
    overall: Interval
    kinds: dict[str, Interval]


def evaluate_demo(
    split: str, samples: int, progress: Progress, *, name: str = DEMO, dtype: str = "auto"
) -> DemoAccuracy:
    """Answer the first `samples` questions of a split with an embedded model.

    Args:
        split: Of the data that belong to the model.
        samples: How many.
        progress: Called with the name of what takes long, and its result with (done, total).
        name: Of the model.
        dtype: As for `schedsearch.models.loading.load_model`.

    Raises:
        DataError: No such split.
    """
    data = open_samples(DataRef(f"{name}:{split}", samples))

    from schedsearch.evaluation.evaluator import Evaluator
    from schedsearch.evaluation.metrics import make_metric

    model, processor = open_model(name, dtype=dtype)
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


def train_demo(
    out: Path,
    steps: int | None,
    seed: int,
    threads: int,
    progress: Progress,
    *,
    name: str = DEMO,
    force: bool = False,
) -> Path:
    """Train an embedded model anew, or continue a run that was interrupted.

    Returns:
        The checkpoint folder.

    Raises:
        InputError: The state in `out` cannot be read or belongs to another recipe, or `out` cannot
            be written or holds something else, which `force` replaces.
    """
    from schedsearch.demo.places import check_places

    recipe = recipe_of(name)
    recipe = replace(recipe, seed=seed, steps=steps or recipe.steps)
    check_places(out, force)

    from schedsearch.demo.train import log_progress, train

    bars: dict[str, Callable[[int, int], None]] = {}

    def report(now: "TrainingProgress") -> None:
        log_progress(now)
        if now.stage not in bars:
            bars[now.stage] = progress(now.stage)
        bars[now.stage](now.step, now.steps)

    return train(out, recipe=recipe, threads=threads, report=report, force=force)
