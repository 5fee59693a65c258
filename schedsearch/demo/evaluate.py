"""Accuracy of the demo model by kind of question, with intervals, and with vision taken away."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from schedsearch.core.intervals import Interval, proportion
from schedsearch.core.sample import Sample
from schedsearch.demo.batches import answer_logits, collate, question_row
from schedsearch.demo.questions import Question

Vision = Literal["own", "blank", "foreign"]
"""Which image the model sees: the sample's own, a grey one, or the one of the next sample."""


@dataclass(frozen=True)
class Tally:
    """`right` of `total` answers."""

    right: int
    total: int

    @property
    def share(self) -> float:
        """Accuracy in [0, 1]."""
        return self.right / self.total

    def interval(self) -> Interval:
        """The share with its Wilson interval at 95 %."""
        return proportion(self.right, self.total)


@dataclass(frozen=True)
class Accuracy:
    """Tallies over a set and by kind."""

    overall: Tally
    by_kind: dict[str, Tally]


@torch.no_grad()
def accuracy(
    model: Any,
    samples: Sequence[Sample],
    *,
    vision: Vision = "own",
    withdrawn_from: int | None = None,
    batch_size: int = 32,
) -> Accuracy:
    """Exact-match accuracy of the first answer token.

    Args:
        model: The demo model, float32, on the CPU.
        samples: ShapesVQA samples.
        vision: Which image is shown.
        withdrawn_from: First decoder layer from which on no token sees a vision token.
        batch_size: Samples per forward.
    """
    was_training = model.training
    model.eval()
    hits: list[tuple[str, bool]] = []
    for start in range(0, len(samples), batch_size):
        chunk = samples[start : start + batch_size]
        images = [_image(samples, start + offset, vision) for offset in range(len(chunk))]
        rows = [
            question_row(
                [Question(sample.question, sample.answers[0], sample.kind)], size=image.width
            )
            for sample, image in zip(chunk, images, strict=True)
        ]
        batch = collate(rows, images)
        with vision_withdrawn(model, batch.tokens, withdrawn_from):
            found = answer_logits(model, batch).argmax(-1) == batch.targets
        hits += zip((sample.kind for sample in chunk), found.tolist(), strict=True)
    model.train(was_training)
    kinds = dict.fromkeys(kind for kind, _ in hits)
    return Accuracy(
        _tally(hit for _, hit in hits),
        {kind: _tally(hit for found, hit in hits if found == kind) for kind in kinds},
    )


def _tally(hits: Iterable[bool]) -> Tally:
    counted = list(hits)
    return Tally(sum(counted), len(counted))


def _image(samples: Sequence[Sample], number: int, vision: Vision) -> Image.Image:
    shown = (number + 1) % len(samples) if vision == "foreign" else number
    source = samples[shown].images[0]
    assert callable(source)  # the sets of the demo draw their images
    image: Image.Image = source()
    return Image.new("RGB", image.size, (128, 128, 128)) if vision == "blank" else image


@contextmanager
def vision_withdrawn(model: Any, tokens: Tensor, first: int | None) -> Iterator[None]:
    """Hide vision tokens from every query in layers `first` and later."""
    if first is None:
        yield
        return
    hidden = (tokens == model.config.image_token_id)[:, None, None, :]

    def hide(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = kwargs["attention_mask"]
        kwargs["attention_mask"] = mask.masked_fill(hidden, torch.finfo(mask.dtype).min)
        return args, kwargs

    layers = model.model.language_model.layers[first:]
    handles = [layer.register_forward_pre_hook(hide, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
