"""Samples: what a calibration or held-out set consists of."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from schedsearch.core.canonical import digest
from schedsearch.core.reading import read_bytes

Split = Literal["train", "validation", "calibration", "certify", "held-out"]


@dataclass(frozen=True)
class ImageBytes:
    """Content of an image file.

    Attributes:
        name: Of the file; what errors call it.
        raw: The encoded image.
    """

    name: str
    raw: bytes = field(repr=False)


ImageSource = Path | ImageBytes | Callable[[], Any]
"""A file, what stood in one, or a function that draws a PIL image when it is needed.

A function that has a method `packed` goes to another process as the `ImageBytes` that it returns.
"""


@dataclass(frozen=True)
class Sample:
    """One question about one or more images.

    Attributes:
        id: Unique within its set and stable between runs; scores are stored under it.
        question: The user's text, without any chat template.
        answers: Accepted reference answers; log-likelihood uses the first. Metrics that compare
            with the full model need none.
        images: Sources in the order in which the prompt shows them.
        kind: Type of the question, for tables by type; empty where there is none.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    images: tuple[ImageSource, ...]
    kind: str = ""


class SampleSet(Protocol):
    """An ordered, immutable collection of samples with an identity."""

    @property
    def name(self) -> str:
        """What reports call the set."""

    @property
    def split(self) -> Split:
        """Which of the five disjoint uses the set serves."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...

    def digest(self) -> str:
        """Hash of the content: equal digests mean equal samples in equal order."""


class Portable:
    """What a set is that goes to processes which share no file system with this one.

    Pickled, it is a `PackedSet`, with the content of its image files.
    """

    def __reduce__(self: SampleSet) -> tuple[Any, ...]:
        return PackedSet, (self.name, self.split, self.digest(), tuple(_packed(self)))


@dataclass(frozen=True)
class PackedSet:
    """A set as it arrives in another process, equal to the one that was sent.

    Attributes:
        name: What reports call the set.
        split: Which of the five disjoint uses the set serves.
        content: Its digest.
        samples: In its order; their images need no file.
    """

    name: str
    split: Split
    content: str
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def digest(self) -> str:
        """Hash of the content of the set that was sent."""
        return self.content


def _packed(samples: Iterable[Sample]) -> Iterator[Sample]:
    known: dict[bytes, bytes] = {}  # pickle writes one object once, but equal ones each

    def packed(source: ImageSource) -> ImageSource:
        if isinstance(source, Path):
            source = ImageBytes(str(source), read_bytes(source, "image"))
        elif hasattr(source, "packed"):
            source = source.packed()
        if isinstance(source, ImageBytes):
            source = replace(source, raw=known.setdefault(source.raw, source.raw))
        return source

    for sample in samples:
        yield replace(sample, images=tuple(map(packed, sample.images)))


@dataclass(frozen=True)
class FirstSamples(Portable):
    """The first `n` samples of a set, or all where it has fewer."""

    whole: SampleSet
    n: int

    @property
    def name(self) -> str:
        """The name of the whole set."""
        return self.whole.name

    @property
    def split(self) -> Split:
        """The split of the whole set."""
        return self.whole.split

    def __len__(self) -> int:
        return min(self.n, len(self.whole))

    def __iter__(self) -> Iterator[Sample]:
        return islice(self.whole, len(self))

    def digest(self) -> str:
        """Hash of the whole set's content and the number of samples."""
        return digest([self.whole.digest(), len(self)])


@dataclass(frozen=True)
class Part(Portable):
    """Some samples of a set, in its order, for a use of their own.

    Attributes:
        whole: The set.
        ids: Of the samples.
        split: The use.
    """

    whole: SampleSet
    ids: frozenset[str]
    split: Split

    @property
    def name(self) -> str:
        """The name of the whole set, and the use where that is not its own."""
        use = "" if self.split == self.whole.split else f", {self.split} part"
        return f"{self.whole.name}{use}"

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self.whole if sample.id in self.ids)

    def digest(self) -> str:
        """Hash of the whole set's content and which samples these are."""
        return digest([self.whole.digest(), sorted(self.ids)])


@dataclass(frozen=True)
class _Used(Portable):
    whole: SampleSet
    split: Split

    @property
    def name(self) -> str:
        return self.whole.name

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.whole)

    def digest(self) -> str:
        return self.whole.digest()


def used_as(samples: SampleSet, split: Split) -> SampleSet:
    """The same set, which serves this use, whatever it was made for."""
    return samples if samples.split == split else _Used(samples, split)


@dataclass(frozen=True)
class Grid:
    """Patches that an image is cut into; each becomes one vision token."""

    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """Vision tokens of one image."""
        return self.rows * self.columns
