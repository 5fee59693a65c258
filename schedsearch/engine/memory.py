"""Sample sets from objects that a program already holds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from schedsearch.core.canonical import digest
from schedsearch.core.sample import ImageSource, Sample, Split
from schedsearch.engine.calibration import sample_key
from schedsearch.errors import DataError


@dataclass(frozen=True)
class Held:
    """An image that is in memory already."""

    image: Image.Image

    def __call__(self) -> Image.Image:
        """The image."""
        return self.image


class MemorySet:
    """Samples from rows, as `datasets` and the like give them.

    Args:
        rows: Samples, or mappings with `question`, `answer` or `answers`, `image` or `images`
            (PIL images or paths), and if wanted `id` and `kind`. Metrics that compare with the
            full model need no answer.
        name: What reports call the set.
        split: Which of the four disjoint uses the set serves.

    Raises:
        DataError: A row lacks something; the message names its number.
    """

    def __init__(
        self,
        rows: Iterable[Sample | Mapping[str, Any]],
        name: str = "samples",
        split: Split = "calibration",
    ) -> None:
        self.name = name
        self.split: Split = split
        self._samples = tuple(
            row if isinstance(row, Sample) else _sample(row, number)
            for number, row in enumerate(rows)
        )
        if not self._samples:
            raise DataError(f"{name} has no rows; a search needs samples")

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def digest(self) -> str:
        """Hash of ids, questions, answers and pixels."""
        return digest([[sample.id, sample_key(sample)] for sample in self._samples])


def _sample(row: Mapping[str, Any], number: int) -> Sample:
    if not isinstance(row, Mapping):
        raise DataError(f"row {number} must be a mapping or a Sample, but got {type(row).__name__}")
    question = row.get("question")
    if not isinstance(question, str) or not question:
        raise DataError(f"row {number}: `question` must be a text, but got {question!r}")
    answers = _listed(row, "answer", "answers")
    images = _listed(row, "image", "images")
    if not images:
        raise DataError(f"row {number}: `image` is missing; every sample needs one")
    return Sample(
        id=str(row.get("id", number)),
        question=question,
        answers=tuple(str(answer) for answer in answers),
        images=tuple(_source(image, number) for image in images),
        kind=str(row.get("kind", "")),
    )


def _listed(row: Mapping[str, Any], one: str, many: str) -> list[Any]:
    found = row.get(many)
    if found is None:
        found = row.get(one)
    if found is None:
        return []
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _source(image: Any, number: int) -> ImageSource:
    if isinstance(image, Image.Image):
        return Held(image)
    if isinstance(image, (str, Path)):
        return Path(image)
    raise DataError(
        f"row {number}: `image` must be a PIL image or a path, but got {type(image).__name__}"
    )
