"""What a sampler knows of a model and a calibration set."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.shown import shown
from schedsearch.errors import InputError


class Prompts(NamedTuple):
    """How long prompts are, and how many samples have such ones; None where it is not known."""

    n_vision: int
    n_text: int | None = None
    samples: int | None = None


@dataclass(frozen=True)
class Facts:
    """Sizes of the decoder and of the prompts, as far as they are known.

    Studies of before schedsearch kept them all know `layers` and the numbers of vision tokens.

    Attributes:
        layers: Decoder layers of the model.
        tokens: Prompt lengths, ascending.
        shape: The decoder.

    Raises:
        InputError: There is no layer or no prompt, or `shape` has another depth.
    """

    layers: int
    tokens: tuple[Prompts, ...]
    shape: DecoderShape | None = None

    def __post_init__(self) -> None:
        if self.shape is not None and self.shape.layers != self.layers:
            raise InputError(
                f"`layers` must be those of `shape`, {self.shape.layers}, but got "
                f"{shown(self.layers)}; take both from the model"
            )
        if self.layers < 1 or not self.tokens:
            raise InputError(
                f"facts must be of a model with layers and of samples, but got {self.layers} "
                f"layers and {len(self.tokens)} prompt lengths; take them from both"
            )

    @classmethod
    def of(cls, shape: DecoderShape, tokens: Iterable[SampleTokens]) -> Self:
        """Return the facts of a decoder and of samples, in whatever order these come."""
        counted = Counter((one.n_vision, one.n_text) for one in tokens)
        prompts = (Prompts(*lengths, samples) for lengths, samples in sorted(counted.items()))
        return cls(shape.layers, tuple(prompts), shape)

    @classmethod
    def from_plain(cls, body: Mapping[str, Any]) -> Self:
        """Return the facts that `plain` wrote."""
        tokens: Sequence[Sequence[int]] = body["tokens"]
        shape = body.get("shape")
        made = None if shape is None else DecoderShape(**shape)
        return cls(body["layers"], tuple(Prompts(*one) for one in tokens), made)

    def plain(self) -> dict[str, Any]:
        """Return the facts as JSON has them."""
        shape = None if self.shape is None else dict(vars(self.shape))
        return {"layers": self.layers, "tokens": list(map(list, self.tokens)), "shape": shape}

    @cached_property
    def n_visions(self) -> tuple[int, ...]:
        """Distinct numbers of vision tokens, ascending."""
        return tuple(sorted({one.n_vision for one in self.tokens}))

    @property
    def decoder(self) -> DecoderShape:
        """The decoder.

        Raises:
            InputError: It is not known.
        """
        if self.shape is None:
            raise InputError("the sizes of the model are not known; open the study with its model")
        return self.shape

    def samples(self) -> tuple[SampleTokens, ...]:
        """Return the prompt of every sample, the shortest first.

        Raises:
            InputError: They are not known.
        """
        found: list[SampleTokens] = []
        for n_vision, n_text, samples in self.tokens:
            if n_text is None or samples is None:
                raise InputError("prompt lengths are not known; open the study with its data")
            found += [SampleTokens(n_vision, n_text)] * samples
        return tuple(found)

    def filled(self, given: "Facts") -> "Facts":
        """Return `given` where these facts are some of it, else these facts."""
        known = self.layers, self.n_visions
        lacking = self.shape is None and known == (given.layers, given.n_visions)
        return given if lacking else self
