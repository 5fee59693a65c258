"""What a search asks of an evaluator, on small random models, and where each run should start."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Task
from schedsearch.demo.processor import IMAGE, build_processor, vocabulary
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.evaluation.prefix.memory import Tier
from tests.engine.embedded import IDS, QUESTIONS
from tests.engine.tiny import CONFIGURATIONS, N_VISION, TinyLlava, build

SOME = IDS[:6]
GROUPED = CONFIGURATIONS[2]


@dataclass(frozen=True)
class Step:
    """One task: vision tokens per layer, layers shared with what follows, first layer to run."""

    counts: tuple[int, ...]
    shared: int
    first: int


SEARCH = (
    Step((64, 64, 64, 64, 64, 64), 0, 0),
    # From shallow to deep; the third, sixth, seventh and ninth are accepted.
    Step((64, 64, 20, 20, 20, 20), 2, 0),
    Step((64, 64, 40, 40, 40, 40), 2, 2),
    Step((64, 64, 32, 32, 32, 32), 2, 2),
    Step((64, 64, 40, 10, 10, 10), 3, 2),
    Step((64, 64, 40, 30, 30, 30), 3, 3),
    Step((64, 64, 40, 30, 8, 8), 4, 3),
    Step((64, 64, 40, 30, 8, 0), 5, 4),
    Step((64, 64, 40, 30, 8, 4), 5, 5),
    # From deep to shallow, each layer by itself.
    Step((64, 64, 40, 30, 6, 4), 4, 4),
    Step((64, 64, 40, 20, 8, 4), 3, 3),
    Step((64, 64, 35, 20, 8, 4), 2, 2),
    # Drops nothing where it goes on, then in the layer after the vision tokens' first.
    Step((64, 64, 64, 36, 36, 36), 3, 2),
    Step((64, 60, 36, 20, 8, 4), 1, 0),
    Step((64, 50, 36, 36, 8, 8), 4, 1),
    Step((64, 50, 36, 36, 8, 8), 6, 4),
    Step((64, 50, 36, 36, 8, 8), 0, 5),
    Step((64, 50, 36, 36, 36, 36), 0, 4),
)
"""Every way in which a task can meet what earlier ones left, with the starts worked out by hand."""

assert all(a >= b for step in SEARCH for a, b in pairwise((N_VISION, *step.counts)))


def task(
    counts: tuple[int, ...],
    shared: int = 0,
    ranker: RankerSpec | None = None,
    ids: tuple[str, ...] = SOME,
) -> Task:
    return Task(Schedule.from_counts(counts, N_VISION, ranker), "calibration", ids, shared)


@cache
def model_of(tiny: TinyLlava = GROUPED, dtype: torch.dtype = torch.float32) -> Any:
    """Random model that understands the demo's prompts."""
    model = build(tiny)
    model.config.image_token_id = vocabulary()[IMAGE]
    model.generation_config.eos_token_id = 2
    return model.to(dtype)


def evaluator(model: Any = None, metric: str = "log_likelihood", **options: Any) -> Evaluator:
    """By default in batches of two at most, so that there are several."""
    chosen = {"batch_size": 2, **options}
    model = model_of() if model is None else model
    return Evaluator(model, build_processor(32, 4), QUESTIONS, make_metric(metric), **chosen)


class Shelf(Tier):
    """Pinned memory where there is none."""

    @staticmethod
    def _pin(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()
