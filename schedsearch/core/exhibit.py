"""Exhibits: one sample under one schedule, token by token, for people to look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, get_args

from schedsearch.core.sample import Split

MOST_SAMPLES = 64
"""That are asked to become exhibits of one trial."""

PICTURE_BYTES = 32 << 10
"""No picture of an exhibit is larger."""

KEPT_BYTES = 128 << 10
"""Nor the kept tokens of one, all layers together."""

TEXT_LENGTH = 2000
"""Nor is any of its texts longer, in characters."""


class ScoredSample(NamedTuple):
    """A sample that is to become an exhibit, and what is known of it."""

    id: str
    score: float
    full_score: float


class Box(NamedTuple):
    """A part of a picture, in shares of its width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class TokenView:
    """Vision tokens that follow each other in the prompt, and what of the picture they stand for.

    Attributes:
        rows: Of the grid in which they lie, row by row.
        columns: Of that grid.
        box: What the grid covers; None where nobody knows which token stands for what, so that
            they are a strip of one row.
    """

    rows: int
    columns: int
    box: Box | None

    def __post_init__(self) -> None:
        assert self.rows > 0 and self.columns > 0, "no tokens"
        assert self.box is not None or self.rows == 1, "a strip is one row"

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Exhibit:
    """A sample under a schedule and under the full model.

    Attributes:
        sample: Hash of its content, under which its scores are stored.
        name: Its id in its set.
        split: Of that set; never `certify`.
        place: Of the sample in its set, from 0.
        question: Its question.
        references: Accepted answers.
        answer: What the model says under the schedule.
        full_answer: What the full model says.
        score: Under the schedule.
        full_score: Under the full model.
        width: Of its picture, in pixels.
        height: Of its picture, in pixels.
        views: Its vision tokens, in the order of the prompt.
        kept: For each layer which of them it processes: a bit for each token, the first one in the
            highest bit of the first byte, as `numpy.packbits` has them.
    """

    sample: str
    name: str
    split: Split
    place: int
    question: str
    references: tuple[str, ...]
    answer: str
    full_answer: str
    score: float
    full_score: float
    width: int
    height: int
    views: tuple[TokenView, ...]
    kept: tuple[bytes, ...]

    def __post_init__(self) -> None:
        size = -(-self.n_vision // 8)
        assert self.width > 0 and self.height > 0, "no picture"
        assert self.split in get_args(Split), "no such split"
        assert self.split != "certify", "what proves a schedule is not shown"
        assert self.views and self.kept, "no tokens or no layers"
        assert all(len(one) == size for one in self.kept), f"{size} bytes are wanted of each layer"
        assert all(one[-1] % (1 << (8 * size - self.n_vision)) == 0 for one in self.kept), "padding"
        alive = [int.from_bytes(one) for one in self.kept]
        assert all(later & ~layer == 0 for layer, later in pairwise(alive)), "a token came back"

    @property
    def n_vision(self) -> int:
        """Vision tokens of the prompt."""
        return sum(view.tokens for view in self.views)

    @property
    def counts(self) -> tuple[int, ...]:
        """Vision tokens that each layer processes."""
        return tuple(int.from_bytes(one).bit_count() for one in self.kept)

    @property
    def changed(self) -> bool:
        """Whether the schedule changes the answer."""
        return self.answer != self.full_answer

    @property
    def knows_places(self) -> bool:
        """Whether it is known which part of the picture each token stands for."""
        return all(view.box is not None for view in self.views)

    def removed(self, layer: int) -> Iterator[tuple[TokenView, tuple[int, ...]]]:
        """Each view with the tokens of it that a layer does not process any more, ascending."""
        kept, first = self.kept[layer], 0
        for view in self.views:
            places = range(first, first + view.tokens)
            gone = (at - first for at in places if not kept[at // 8] >> (7 - at % 8) & 1)
            yield view, tuple(gone)
            first += view.tokens
