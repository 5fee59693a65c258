"""The schedule: which share of the vision tokens each decoder layer processes."""

import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from schedsearch.core.canonical import digest, is_number
from schedsearch.core.certificate import Certificate
from schedsearch.core.plugin import PlugIn
from schedsearch.core.shown import shown
from schedsearch.errors import InputError, ScheduleError

if TYPE_CHECKING:  # the format is loaded when a file is read or written: it takes its time
    from pydantic import JsonValue

    from schedsearch.core.schedule_format import Provenance, Results, ScheduleFile

_SLACK = 1e-6


def kept_count(keep: float, n: int) -> int:
    """Return how many of `n` vision tokens a layer with ratio `keep` processes: 0 to n.

    This is the only place that turns a ratio into a count. The ceiling takes a slack of 1e-6
    tokens because k / n * n may land above k in floats: (7 / 25) * 25 > 7.

    Raises:
        InputError: `n` is negative.
    """
    if n < 0:
        raise InputError(f"`n` must be a number of tokens, but got {n}; pass 0 or more")
    return min(n, max(0, math.ceil(keep * n - _SLACK)))


def reducible_layers(first: int, layers: int) -> range:
    """Return the layers that may process fewer vision tokens than there are: `first` to the last.

    Raises:
        InputError: There is no layer `first`.
    """
    if not 0 <= first < layers:
        raise InputError(
            f"`first` must be one of the layers 0 to {layers - 1}, but got {first}; name the "
            f"first layer that may remove vision tokens"
        )
    return range(first, layers)


@dataclass(frozen=True)
class RankerSpec(PlugIn):
    """The ranker that orders the vision tokens, with its parameters.

    `last` orders by the attention of the last prompt row in the layer before the cut.
    """

    name: str = "last"


@dataclass(frozen=True)
class Target:
    """The model that a schedule was made for.

    Attributes:
        architecture: Class name of the multimodal model in transformers.
        layers: Decoder layers of its language model.
        hidden_size: Width of the language model.
        model: Where the model came from: a hub id or a folder.
        weights: Digest of the weights, where one was taken.
    """

    architecture: str
    layers: int
    hidden_size: int | None = None
    model: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if not self.architecture:
            raise ScheduleError("`architecture` must not be empty; name the class of the model")
        for name in ("layers", "hidden_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ScheduleError(
                    f"`{name}` must be at least 1, but got {size}; read it from the configuration "
                    f"of the language model"
                )


@dataclass(frozen=True)
class Schedule:
    """How many vision tokens each decoder layer processes, and who chooses them.

    Two schedules are equal when `keep` and `ranker` are; target and certificate are notes.

    Attributes:
        keep: Per decoder layer, counted from 0: vision tokens that this layer processes /
            vision tokens that the sample had originally. In [0, 1], never growing with depth.
        ranker: Orders the tokens wherever the count falls.
        target: The model that the schedule was made for.
        certificate: What is proven of it.

    Raises:
        ScheduleError: `keep` breaks one of these rules (the message names the layer), or the
            certificate is another schedule's.
    """

    keep: tuple[float, ...]
    ranker: RankerSpec = RankerSpec()
    target: Target | None = field(default=None, compare=False)
    certificate: Certificate | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", _validated(self.keep))
        if self.certificate is not None:
            self.certificate.check_speaks_of(self.digest())
        if self.target is not None and self.target.layers != self.layers:
            raise ScheduleError(
                f"`keep` must have one ratio per decoder layer of the target, but got "
                f"{self.layers} for {self.target.layers} layers of {self.target.architecture}; "
                f"use a schedule that was made for this model"
            )

    @classmethod
    def full(cls, layers: int, ranker: RankerSpec | None = None) -> Self:
        """Return the schedule under which every one of `layers` layers keeps everything."""
        return cls((1.0,) * layers, ranker or RankerSpec())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Schedule":
        """Return the schedule of a `schedsearch.schedule/1` file.

        Raises:
            ScheduleError: The file cannot be used; the message names file, key path and remedy.
        """
        from schedsearch.core.schedule_file import read_schedule_file

        file = read_schedule_file(path)
        try:
            return Schedule.from_file(file)
        except InputError as error:
            raise ScheduleError(f"{path}: schedule: {error}") from None

    def save(
        self,
        path: str | os.PathLike[str],
        results: "Results | None" = None,
        provenance: "Provenance | None" = None,
        extensions: "Mapping[str, JsonValue] | None" = None,
        *,
        force: bool = False,
    ) -> None:
        """Write a `schedsearch.schedule/1` file, replacing one that is there in one step.

        Args:
            path: The file; `-` is standard output.
            results: What was measured.
            provenance: Where the schedule comes from.
            extensions: Whatever else belongs to it.
            force: Replace a file that is no schedule file, too.

        Raises:
            ScheduleError: The place cannot be written or must not be replaced.
            RunError: The disk is full, or a stream cannot be written.
        """
        from schedsearch.core.schedule_file import write_schedule_file

        write_schedule_file(path, self.to_file(results, provenance, extensions), force=force)

    @classmethod
    def from_file(cls, file: "ScheduleFile") -> Self:
        """Return the schedule that the content of a schedule file describes.

        Raises:
            InputError: It breaks one of a schedule's own rules.
        """
        ranker = file.schedule.ranker
        target, proof = file.target, file.certificate
        return cls(
            file.schedule.keep,
            RankerSpec.from_mapping(ranker.name, ranker.params),
            Target(**target.model_dump()) if target else None,
            Certificate.from_plain(proof.model_dump()).checked() if proof else None,
        )

    def to_file(
        self,
        results: "Results | None" = None,
        provenance: "Provenance | None" = None,
        extensions: "Mapping[str, JsonValue] | None" = None,
    ) -> "ScheduleFile":
        """Return the content of a schedule file, as `save` writes it.

        Raises:
            ScheduleError: An extension is nothing that JSON can express.
        """
        from pydantic import ValidationError

        from schedsearch.core.schedule_format import (
            CertificateEntry,
            RankerEntry,
            ScheduleEntry,
            ScheduleFile,
            TargetEntry,
            explain,
        )

        ranker = RankerEntry(name=self.ranker.name, params=dict(self.ranker.params))
        proof = self.certificate
        try:
            return ScheduleFile(
                schedule=ScheduleEntry(keep=list(self.keep), ranker=ranker),
                target=None if self.target is None else TargetEntry(**vars(self.target)),
                certificate=CertificateEntry(**proof.plain()) if proof else None,
                results=results,
                provenance=provenance,
                extensions=dict(extensions or {}),
            )
        except ValidationError as error:
            raise ScheduleError(explain(error)) from None

    @classmethod
    def from_counts(
        cls, counts: Sequence[int], n_max: int, ranker: RankerSpec | None = None
    ) -> Self:
        """Return the schedule on the grid k / n_max, so that `.counts(n_max) == counts`.

        Raises:
            ScheduleError: A count lies outside 0..n_max, or the counts grow.
        """
        if n_max < 1:
            raise ScheduleError(f"`n_max` must be at least 1 token, but got {n_max}; raise it")
        for layer, count in enumerate(counts):
            if not 0 <= count <= n_max:
                raise ScheduleError(
                    f"`counts` must lie in [0, {n_max}], but got {count} at layer {layer}; "
                    f"correct it"
                )
        return cls(tuple(count / n_max for count in counts), ranker or RankerSpec())

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return len(self.keep)

    def counts(self, n_vision: int) -> tuple[int, ...]:
        """Return the vision tokens per layer, shape (layers,), of a sample with `n_vision`."""
        return tuple([kept_count(keep, n_vision) for keep in self.keep])

    def cut_layers(self, n_vision: int) -> tuple[int, ...]:
        """Return the layers before which tokens leave a sample with `n_vision` vision tokens."""
        counts = (n_vision, *self.counts(n_vision))
        return tuple(layer for layer in range(self.layers) if counts[layer + 1] < counts[layer])

    def common_layers(self, other: "Schedule") -> int:
        """Return how many leading layers keep the same share under both, of equal depth."""
        pairs = zip(self.keep, other.keep, strict=True)
        return next((layer for layer, (own, its) in enumerate(pairs) if own != its), self.layers)

    def same_evaluation(self, other: "Schedule", n_visions: Iterable[int]) -> bool:
        """Say whether both keep the same counts, by the same ranker, for all of `n_visions`."""
        if self.ranker != other.ranker or self.layers != other.layers:
            return False
        pairs = list(zip(self.keep, other.keep, strict=True))
        return all(kept_count(a, n) == kept_count(b, n) for n in set(n_visions) for a, b in pairs)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of keep and ranker: equal schedules, equal digests."""
        ranker = {"name": self.ranker.name, "params": dict(self.ranker.params)}
        return digest({"keep": self.keep, "ranker": ranker})


# -0.0 equals 0.0 and must have its digest too.
_POSITIVE = (0.0).__add__


def _validated(keep: object) -> tuple[float, ...]:
    # Stores are read by thousands of schedules. Comparisons with NaN are false.
    if isinstance(keep, tuple) and {*map(type, keep)} == {float}:
        if all(map(operator.ge, (1.0, *keep), (*keep, 0.0))):
            return keep if keep[-1] else tuple(map(_POSITIVE, keep))
    if isinstance(keep, (str, bytes, Mapping, Set)) or not isinstance(keep, Iterable):
        raise ScheduleError(
            f"`keep` must be a sequence with one ratio per decoder layer, but got {shown(keep)}; "
            f"write [1.0, 1.0, 0.5, ...]"
        )
    ratios = tuple([_ratio(value, layer) for layer, value in enumerate(keep)])
    if not ratios:
        raise ScheduleError("`keep` must not be empty; give one ratio per decoder layer")
    for layer, (above, here) in enumerate(zip(ratios, ratios[1:], strict=False), start=1):
        if here > above:
            raise ScheduleError(
                f"`keep` must be non-increasing, but got {shown(above)} -> {shown(here)} at layer "
                f"{layer}; tokens that have left cannot return: lower layer {layer} to "
                f"{shown(above)} or less"
            )
    return ratios


def _ratio(value: Any, layer: int) -> float:
    if not is_number(value):
        raise ScheduleError(
            f"`keep` must consist of numbers, but got {shown(value)} at layer {layer}; "
            f"write the share of vision tokens that the layer processes, 0 to 1"
        )
    if not 0 <= value <= 1:  # false for NaN too
        raise ScheduleError(
            f"`keep` must lie in [0, 1], but got {shown(value)} at layer {layer}; "
            f"write the share of vision tokens that the layer processes (half of them: 0.5)"
        )
    return _POSITIVE(float(value))
