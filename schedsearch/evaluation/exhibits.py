"""What becomes of samples token by token: kept tokens of each layer, both answers, a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from schedsearch.core.exhibit import KEPT_BYTES, TEXT_LENGTH, Exhibit, ScoredSample
from schedsearch.core.sample import Split
from schedsearch.core.schedule import Schedule
from schedsearch.evaluation.answers import greedy_answers
from schedsearch.evaluation.batching import BatchSize, run_in_batches
from schedsearch.evaluation.data.images import open_image
from schedsearch.evaluation.encoding import Encoder, Row
from schedsearch.evaluation.pictures import picture_of
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction.reduction import reduce

T = TypeVar("T")

Shot = tuple[Exhibit, bytes]
"""An exhibit with its picture."""


def kept_tokens(
    kept: Mapping[int, torch.Tensor], vision: torch.Tensor, layers: int
) -> torch.Tensor:
    """Which vision tokens each layer processes.

    Args:
        kept: As `Reduction.kept` has it after the prefill.
        vision: `(batch, sequence)` bool, as many vision tokens in every row.
        layers: Of the decoder.

    Returns:
        `(batch, layers, vision tokens)` bool on the CPU.
    """
    batch, width = vision.shape
    found = torch.ones(batch, layers, int(vision[0].sum()), dtype=torch.bool)
    for layer, columns in kept.items():
        alive = torch.zeros(batch, width + 1, dtype=torch.bool, device=columns.device)
        alive.scatter_(1, columns.where(columns >= 0, width), True)
        found[:, layer] = alive[:, :width][vision.to(columns.device)].view(batch, -1).cpu()
    return found


@dataclass
class Recorder:
    """Runs samples as users would, and notes what becomes of their tokens.

    Attributes:
        model: In evaluation mode.
        processor: Its processor.
        encoder: Of the prompts.
        ends: End tokens.
        size: Of batches.
        relieve: Gives memory back when it runs out.
        longest: Tokens of the longest answer.
    """

    model: Any
    processor: Any
    encoder: Encoder
    ends: Sequence[int]
    size: BatchSize
    relieve: Callable[[], bool]
    longest: int

    def record(
        self,
        schedule: Schedule,
        split: Split,
        rows: Sequence[tuple[int, Row, ScoredSample]],
    ) -> list[Shot]:
        """The exhibits of some samples, but for those whose kept tokens take too many bytes.

        Args:
            schedule: What they are shown under.
            split: Of their set.
            rows: Place, prompt and scores of each.

        Raises:
            RunError: A sample does not fit into memory, or the model failed on it.
        """
        fitting = [
            one for one in rows if schedule.layers * -(-one[1].prompt.n_vision // 8) <= KEPT_BYTES
        ]
        prompts = [row for _, row, _ in fitting]
        with torch.inference_mode():
            whole = self._run(prompts, self._answers)
            reduced = self._run(prompts, partial(self._reduced, schedule))
            return [
                self._shot(split, *one, whole[one[1].sample_id], *reduced[one[1].sample_id])
                for one in fitting
            ]

    def _run(
        self, rows: Sequence[Row], work: Callable[[Sequence[Row]], Sequence[T]]
    ) -> dict[str, T]:
        """What comes of each sample, by its id."""
        batches = run_in_batches(rows, self.size, work, self.relieve)
        return {row.sample_id: found for batch in batches for row, found in batch}

    def _answers(self, batch: Sequence[Row]) -> list[str]:
        inputs = self.encoder.inputs(batch)
        tokens, _ = greedy_answers(self.model, inputs, self.longest, self.ends)
        return self.encoder.decode(tokens)

    def _reduced(self, schedule: Schedule, batch: Sequence[Row]) -> list[tuple[str, torch.Tensor]]:
        with reduce(self.model, schedule) as reduction:
            inputs = self.encoder.inputs(batch)
            lengths = [len(row.prompt.tokens) for row in batch]
            reduction.prompt(lengths=lengths, keys=[row.prompt.key for row in batch])
            tokens, _ = greedy_answers(self.model, inputs, self.longest, self.ends)
            vision = adapter_for(self.model).vision_mask(self.model, inputs["input_ids"])
            kept = kept_tokens(reduction.kept, vision, schedule.layers)
        return list(zip(self.encoder.decode(tokens), kept, strict=True))

    def _shot(
        self,
        split: Split,
        place: int,
        row: Row,
        scored: ScoredSample,
        full_answer: str,
        answer: str,
        kept: torch.Tensor,
    ) -> Shot:
        sample = row.sample
        layout = adapter_for(self.model).layout(self.model, self.encoder.inputs([row]))
        images = [open_image(source) for source in sample.images]
        image_processor = getattr(self.processor, "image_processor", None)
        seen = picture_of(layout, images, row.prompt.n_vision, image_processor)
        picture, (width, height), views = seen
        exhibit = Exhibit(
            sample=row.prompt.key,
            name=_short(sample.id),
            split=split,
            place=place,
            question=_short(sample.question),
            references=tuple(map(_short, sample.answers[:10])),
            answer=_short(answer),
            full_answer=_short(full_answer),
            score=scored.score,
            full_score=scored.full_score,
            width=width,
            height=height,
            views=views,
            kept=tuple(one.tobytes() for one in np.packbits(kept.numpy(), axis=1)),
        )
        return exhibit, picture


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 3]}..."
