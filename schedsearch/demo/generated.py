"""What sample sets share whose samples follow from their number."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from schedsearch.core.sample import Sample


class Numbered(ABC):
    """The first `n` samples of a rule; equal rules and parameters, equal samples.

    Attributes:
        generator: Names the rule; a change that alters any sample must change it.
        n: Number of samples.
    """

    generator: ClassVar[str]
    n: int

    @abstractmethod
    def _sample(self, index: int) -> Sample:
        """The sample with this number, from 0."""

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Sample]:
        return (self._sample(index) for index in range(self.n))

    def digest(self) -> str:
        """SHA-256 over the generator's name, the parameters, and every question and answer."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        content = hashlib.sha256(f"{self.generator} {self!r}".encode())
        for sample in self:
            content.update(f"\n{sample.id}\t{sample.question}\t{sample.answers[0]}".encode())
        return content.hexdigest()
