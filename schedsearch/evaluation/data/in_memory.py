"""Sample sets from objects that a program already holds."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from schedsearch.core.canonical import digest
from schedsearch.core.sample import ImageBytes, ImageSource, Portable, Sample, Split
from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import upright
from schedsearch.evaluation.data.jsonl import sample_key
from schedsearch.evaluation.data.rows import (
    known_columns,
    read_rows,
    refuse_address,
    sample_of,
    text_of,
)

_FAST = 1
"""Of PNG's levels of compression: four times as fast as the default, a quarter larger."""


@dataclass(frozen=True)
class Held:
    """An image that is in memory already."""

    image: Image.Image

    def __call__(self) -> Image.Image:
        """The image."""
        return self.image

    def packed(self) -> ImageBytes:
        """The image as models see it, which is the same pixels wherever it is opened."""
        seen, content = upright(self.image), io.BytesIO()
        # Without palette, colour profile and the like, which PNG would keep.
        bare = Image.frombytes(seen.mode, seen.size, seen.tobytes())
        bare.save(content, "PNG", compress_level=_FAST)
        return ImageBytes("in memory", content.getvalue())


class MemorySet(Portable):
    """Samples from rows, as `datasets` and the like give them.

    Rows are checked as the lines of a JSONL file are, images included; see
    `schedsearch.evaluation.data.rows`. But other columns are passed over, unless one looks like a
    key that is missing, and a cell that holds None counts as missing.

    Args:
        rows: Samples, or mappings with `question`, `answer` or `answers`, `image` or `images`
            (PIL images or paths), and if wanted `id` and `kind`. Metrics that compare with the
            full model need no answer. A sample without `id` is called by its row's number, from 0.
        name: What reports call the set.
        split: Which of the five disjoint uses the set serves.

    Raises:
        DataError: Rows or images cannot be used; the message names the number of the
            first, and counts the others.
    """

    def __init__(
        self,
        rows: Iterable[Sample | Mapping[str, Any]],
        name: str = "samples",
        split: Split = "calibration",
    ) -> None:
        self.name = name
        self.split: Split = split
        self._samples, content = read_rows(
            ((f"row {number}", (number, row)) for number, row in enumerate(rows)),
            lambda numbered: _sample(*numbered),
            lambda sample: [sample.id, sample_key(sample)],
            "row",
        )
        if not self._samples:
            raise DataError(f"{name} has no rows; a search needs samples")
        self._digest = digest(content)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def digest(self) -> str:
        """Hash of ids, questions, answers and pixels."""
        return self._digest


def _sample(number: int, row: Sample | Mapping[str, Any]) -> Sample:
    if isinstance(row, Sample):
        return row
    if not isinstance(row, Mapping):
        raise DataError(
            f"a row must be a mapping or a Sample, but got {type(row).__name__}; pass "
            '{"question": ..., "answer": ..., "image": ...}'
        )
    return sample_of(known_columns(row), number, _source)


def _source(key: str, image: object) -> ImageSource:
    if isinstance(image, Image.Image):
        return Held(image)
    if isinstance(image, str):
        refuse_address(text_of(key, image))
        return Path(image)
    if isinstance(image, os.PathLike):
        refuse_address(os.fspath(image))
        return Path(image)
    raise DataError(
        f"`{key}` must be a PIL image or a path, but got {type(image).__name__}; open it with PIL"
    )
