"""Training batches: one image, then many short segments that see the image but not each other.

The mask gives every segment the view it has when its question is asked alone: the prompt's head
with the image, and itself. Positions restart after the image for the same reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from schedsearch.demo.model import PATCH, vision_tokens
from schedsearch.demo.processor import (
    ASSISTANT,
    BOS,
    EOS,
    IMAGE,
    PIXEL_MEAN,
    PIXEL_STD,
    USER,
    vocabulary,
)
from schedsearch.demo.questions import Question
from schedsearch.demo.recipe import IMAGE_SIZE
from schedsearch.demo.scene import COLORS, GRID, SHAPES, THINGS, Scene, cell_name

TOKENS = vocabulary()
PADDING = -1


@dataclass
class Row:
    """Segments after a prompt's head, which is segment 0 and which all see.

    `tokens` begin as those of the head, with one for each vision token of the image.
    """

    tokens: list[int]
    segments: list[int] = field(init=False)
    positions: list[int] = field(init=False)
    targets: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.segments = [0] * len(self.tokens)
        self.positions = list(range(len(self.tokens)))

    def add(self, tokens: Sequence[int], targets: Iterable[tuple[int, int]]) -> None:
        """Append a segment; `targets` pairs an offset in it with the token to predict there."""
        start = len(self.tokens)
        self.segments += [self.segments[-1] + 1] * len(tokens)
        head = self.segments.count(0)
        self.positions += range(head, head + len(tokens))
        self.tokens += tokens
        self.targets += [(start + offset, target) for offset, target in targets]


@dataclass(frozen=True)
class Batch:
    """Tensors for one forward; `rows`, `columns` and `targets` (n_targets,) say what is scored.

    `pixels` (batch, 3, size, size) float32, `tokens` and `positions` (batch, sequence) int64,
    `mask` (batch, 1, sequence, sequence) float32, added to attention logits.
    """

    pixels: Tensor
    tokens: Tensor
    positions: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(**{one.name: getattr(self, one.name).to(device) for one in fields(self)})


def pixels_of(images: Sequence[Image.Image]) -> Tensor:
    """Normalised pixels, (batch, 3, size, size) float32, as the image processor makes them."""
    stacked = np.stack([np.asarray(image, np.float32) for image in images])
    return (
        torch.from_numpy((stacked / 255 - PIXEL_MEAN) / PIXEL_STD).permute(0, 3, 1, 2).contiguous()
    )


def prompt_head(size: int = IMAGE_SIZE) -> list[int]:
    """Token ids of the prompt up to and with an image of `size` pixels."""
    return [TOKENS[BOS], TOKENS[USER], *[TOKENS[IMAGE]] * vision_tokens(size)]


def prompt_tail(question: str) -> list[int]:
    """Token ids of what follows the image in the prompt."""
    return [*(TOKENS[word] for word in question.split()), TOKENS[ASSISTANT]]


def question_row(
    questions: Sequence[Question],
    ended: int | None = None,
    early: int = 0,
    size: int = IMAGE_SIZE,
) -> Row:
    """A row that asks all questions.

    Args:
        questions: What is asked.
        ended: Index of the question that is followed by its answer, to teach the end token.
        early: How many positions before the last one must predict the answer too.
        size: Side of the image in pixels.
    """
    row = Row(prompt_head(size))
    for number, question in enumerate(questions):
        tokens, answer = prompt_tail(question.text), TOKENS[question.answer]
        last = len(tokens) - 1
        targets = [(last - back, answer) for back in range(early + 1)]
        if number == ended:
            tokens.append(answer)
            targets.append((last + 1, TOKENS[EOS]))
        row.add(tokens, targets)
    return row


def caption_row(scene: Scene, size: int = IMAGE_SIZE) -> Row:
    """A row of two short captions per item: cell, colour, thing; and colour, thing, cell."""
    row = Row(prompt_head(size))
    for item in scene.items:
        cell, color, thing = TOKENS[item.cell], TOKENS[item.color], TOKENS[item.thing]
        row.add((cell, color), ((0, color), (1, thing)))
        row.add((color, thing), ((1, cell),))
    return row


def collate(rows: Sequence[Row], images: Sequence[Image.Image]) -> Batch:
    """Pad rows on the right and build the block mask."""
    length = max(len(row.tokens) for row in rows)

    def padded(lists: Iterable[list[int]], value: int) -> Tensor:
        return torch.tensor([values + [value] * (length - len(values)) for values in lists])

    segments = padded((row.segments for row in rows), PADDING)
    same = segments[:, None, :] == segments[:, :, None]
    visible = (same | (segments[:, None, :] == 0)) & torch.ones(length, length).tril().bool()
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    scored = [(number, *target) for number, row in enumerate(rows) for target in row.targets]
    numbers, columns, targets = torch.tensor(scored).unbind(1)
    return Batch(
        pixels=pixels_of(images),
        tokens=padded((row.tokens for row in rows), 0),
        positions=padded((row.positions for row in rows), 0),
        mask=mask[:, None],
        rows=numbers,
        columns=columns,
        targets=targets,
    )


def answer_logits(model: Any, batch: Batch) -> Tensor:
    """Logits at the scored positions, (n_targets, vocabulary)."""
    states = model.model(
        input_ids=batch.tokens,
        pixel_values=batch.pixels,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    logits: Tensor = model.lm_head(states[batch.rows, batch.columns])
    return logits


PATCH_CLASSES = (len(COLORS) + 1, len(THINGS) + 1, 3, GRID, GRID)
"""Classes of a patch's labels: colour, thing and size (0 = none), row, column of its cell."""


def patch_labels(scene: Scene, size: int = IMAGE_SIZE) -> NDArray[np.int64]:
    """What each patch shows, (n_vision, 5), by the cell in which it lies."""
    side = size // PATCH
    labels = np.zeros((side, side, len(PATCH_CLASSES)), np.int64)
    colors, cell = list(COLORS), side // GRID
    for row in range(GRID):
        for column in range(GRID):
            item = scene.by_cell.get((row, column))
            what = (0, 0, 0)
            if item is not None:
                size = 1 + item.big if item.thing in SHAPES else 0
                what = (colors.index(item.color) + 1, THINGS.index(item.thing) + 1, size)
            block = np.s_[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            labels[block] = (*what, row, column)
    return labels.reshape(-1, len(PATCH_CLASSES))


def patch_words(scene: Scene, embeddings: Tensor, size: int = IMAGE_SIZE) -> Tensor:
    """Word embeddings that each patch should become, (n_vision, hidden).

    An empty cell is its name; a filled one the sum of name, colour, thing and size, halved to keep
    the scale of a single word.
    """
    side = size // PATCH
    cell = side // GRID
    result = embeddings.new_zeros(side, side, embeddings.shape[1])
    for row in range(GRID):
        for column in range(GRID):
            item = scene.by_cell.get((row, column))
            names = [cell_name(row, column)]
            if item is not None:
                names += [item.color, item.thing]
                if item.thing in SHAPES:
                    names.append("big" if item.big else "small")
            meaning = embeddings[[TOKENS[name] for name in names]].sum(0)
            block = np.s_[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            result[block] = meaning / 2 if item is not None else meaning
    return result.view(-1, embeddings.shape[1])
