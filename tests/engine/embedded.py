"""The embedded model and a few hundred of its questions, loaded once per process."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from schedsearch.core.sample import Sample, Split
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Task
from schedsearch.demo import checkpoint_path
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.models.loading import load_model

QUESTIONS = ShapesVQA("calibration", 60)
IDS = tuple(sample.id for sample in QUESTIONS)
REDUCED = Schedule((1.0, 1.0, 0.6, 0.6, 0.3, 0.3, 0.1, 0.0))
"""Changes answers: a test that ignored it would fail."""


@cache
def embedded(attention: str = "sdpa") -> tuple[Any, Any]:
    """Model and processor, float32 on the CPU."""
    return load_model(checkpoint_path(), device="cpu", attention=attention)


def full() -> Schedule:
    return Schedule.full(REDUCED.layers)


def task(schedule: Schedule, ids: tuple[str, ...] = IDS, ranker: str = "last") -> Task:
    return Task(Schedule(schedule.keep, RankerSpec(ranker)), "calibration", ids)


def prompt_of(sample: Sample) -> dict[str, torch.Tensor]:
    """One prompt by the processor alone, as a user would write it."""
    _, processor = embedded()
    content = [{"type": "image"}, {"type": "text", "text": sample.question}]
    message = {"role": "user", "content": content}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    image = sample.images[0]
    assert callable(image)
    return dict(processor(text=text, images=image(), return_tensors="pt"))


class Listed:
    """A sample set from a list."""

    def __init__(self, *samples: Sample, split: Split = "calibration") -> None:
        self.samples = samples
        self.name = "listed"
        self.split: Split = split

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def digest(self) -> str:
        return "listed"
