"""Packed rows in SmolLM2's own turns: one image, then questions that do not see each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from schedsearch.demo.batches import Batch, Row, answer_logits, collate
from schedsearch.demo.evaluate import Tally, vision_withdrawn
from schedsearch.demo.model import vision_tokens
from schedsearch.demo.questions import Question
from schedsearch.demo.smollm2 import IMAGE_SIZE


@dataclass(frozen=True)
class Sheet:
    """An image, and questions about it."""

    image: Image.Image
    questions: tuple[Question, ...]


class Packer:
    """Turns sheets into batches.

    Args:
        processor: The model's processor.
    """

    def __init__(self, processor: Any) -> None:
        self._tokens = processor.tokenizer
        image = [processor.image_token_id] * vision_tokens(IMAGE_SIZE)
        self._head = [*self.tokens("<|im_start|>user\n"), *image]
        self._end = self._tokens.eos_token_id

    def tokens(self, text: str) -> list[int]:
        """Token ids of a part of a prompt."""
        found: list[int] = self._tokens(text, add_special_tokens=False).input_ids
        return found

    def row(self, questions: Sequence[Question]) -> Row:
        """A row that asks all questions and is taught the whole of each answer and its end."""
        row = Row(list(self._head))
        for question in questions:
            asked = self.tokens(f"\n{question.text}<|im_end|>\n<|im_start|>assistant\n")
            answer = self.tokens(question.answer)
            last = len(asked) - 1
            targets = [(last + n, token) for n, token in enumerate([*answer, self._end])]
            row.add([*asked, *answer], targets)
        return row

    def batch(self, sheets: Sequence[Sheet]) -> Batch:
        """One row for each sheet."""
        return collate(
            [self.row(sheet.questions) for sheet in sheets], [sheet.image for sheet in sheets]
        )


@torch.no_grad()
def right_answers(
    model: Any,
    packer: Packer,
    sheets: Sequence[Sheet],
    *,
    withdrawn_from: int | None = None,
    batch_size: int = 4,
) -> dict[str, Tally]:
    """Exactly right answers by kind: every token of the answer and its end would be generated.

    Args:
        model: The model.
        packer: Of its processor.
        sheets: Images and questions.
        withdrawn_from: First decoder layer from which on no token sees a vision token.
        batch_size: Sheets per forward.
    """
    hits: dict[str, list[bool]] = {}
    for start in range(0, len(sheets), batch_size):
        chunk = sheets[start : start + batch_size]
        batch = packer.batch(chunk).to(model.device)
        with vision_withdrawn(model, batch.tokens, withdrawn_from):
            same = (answer_logits(model, batch).argmax(-1) == batch.targets).tolist()
        for kind, answer in _answers(packer, chunk, iter(same)):
            hits.setdefault(kind, []).append(answer)
    return {kind: Tally(sum(found), len(found)) for kind, found in hits.items()}


def _answers(
    packer: Packer, sheets: Sequence[Sheet], same: Iterator[bool]
) -> Iterator[tuple[str, bool]]:
    for sheet in sheets:
        for question in sheet.questions:
            tokens = len(packer.tokens(question.answer)) + 1
            yield question.kind, all([next(same) for _ in range(tokens)])


def together(by_kind: Mapping[str, Tally]) -> Tally:
    """All kinds as one."""
    tallies = by_kind.values()
    return Tally(sum(one.right for one in tallies), sum(one.total for one in tallies))
