"""What a prefill takes on one device, in milliseconds, predicted from the time of single layers.

    prefill = outside + the sum over layers of layer(tokens in that layer)
              + reduce, if the prompt loses any token, + cut x the layers before which it does

All terms are measured, for one batch size; `schedsearch profile` measures them.
"""

import json
import math
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from schedsearch.core.budget import Measure
from schedsearch.core.canonical import is_number, unique_keys, whole_number
from schedsearch.core.complaints import complaint, field_places
from schedsearch.core.flops import Cost, DecoderShape, SampleTokens
from schedsearch.core.reading import read_file
from schedsearch.core.schedule import Schedule
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

MILLISECONDS = "milliseconds"

FORMAT: Literal["schedsearch.latency/1"] = "schedsearch.latency/1"

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class PrefillTiming:
    """Seconds of single prefills, in the order in which they ran.

    Attributes:
        full: Of the unmodified model, without hooks.
        reduced: Under the schedule, ranking and gathering included.
        batch: Prompts in each prefill.
    """

    full: tuple[float, ...]
    reduced: tuple[float, ...]
    batch: int

    @property
    def speedup(self) -> float:
        """Median of the ratios of neighbouring runs: slow drift of the machine cancels."""
        return median(a / b for a, b in zip(self.full, self.reduced, strict=True))


@dataclass(frozen=True)
class Conditions:
    """What a latency model was measured on; it holds for nothing else.

    Attributes:
        model: As the caller named it.
        device: Name of the device.
        dtype: Of the weights.
        attention: Attention implementation.
        torch: Version of torch.
        threads: CPU threads of torch.
        batch: Prompts in each prefill.
        n_vision: Vision tokens of each prompt.
        n_text: Its other tokens.
        ranker: Who ordered the tokens where the count fell.
        timed_layers: How many layers the time of one is the mean of.
        repeats: Runs of which each time is the median.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    model: str
    device: str
    dtype: str
    attention: str
    torch: str
    threads: int
    batch: int
    n_vision: int
    n_text: int
    ranker: str
    timed_layers: int
    repeats: int


@dataclass(frozen=True)
class LatencyModel:
    """Milliseconds of the prefill of a batch, as a function of a schedule.

    Attributes:
        layers: Decoder layers.
        tokens: Tokens per prompt at which a layer was timed, vision and text, ascending.
        layer_ms: Milliseconds of one decoder layer at each of them, for the whole batch.
        outside_ms: Milliseconds of all but the layers: vision tower, projector, embedding, head.
        reduce_ms: Milliseconds more where any token leaves.
        drop_ms: Milliseconds more for each layer before which tokens are ranked and leave.
        conditions: What it was measured on.
        error_ms: Mean absolute error against measured prefills; `None` where nobody checked.

    Raises:
        InputError: A number is negative or not finite, or `tokens` do not ascend.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    layers: int
    tokens: tuple[int, ...]
    layer_ms: tuple[float, ...]
    outside_ms: float
    reduce_ms: float
    drop_ms: float
    conditions: Conditions
    error_ms: float | None = None

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise InputError(
                f"`layers` must be at least 1, but got {shown(self.layers)}; profile again"
            )
        if len(self.tokens) < 2 or len(self.tokens) != len(self.layer_ms):
            raise InputError(
                f"a layer must be timed at two token counts or more, with one time each, but got "
                f"{len(self.tokens)} counts and {len(self.layer_ms)} times; profile again"
            )
        for below, above in zip((0, *self.tokens), self.tokens, strict=False):
            if above <= below:
                raise InputError(
                    f"`tokens` must be positive and ascend, but got {shown(below)} -> "
                    f"{shown(above)}; sort them"
                )
        times = (*self.layer_ms, self.outside_ms, self.reduce_ms, self.drop_ms, self.error_ms or 0)
        for time in times:
            if not (is_number(time) and 0 <= time < math.inf):
                raise InputError(
                    f"times must be milliseconds of 0 or more, but got {shown(time)}; profile again"
                )

    def layer_time(self, tokens: int) -> float:
        """Return the milliseconds of one decoder layer, which never fall when `tokens` grow.

        Linear between measured counts and beyond both ends, never below 0. Where measured times
        fall, each run of them that does is replaced by its mean (isotonic regression).
        """
        counts, times = self.tokens, self._rising
        left = min(max(bisect_right(counts, tokens) - 1, 0), len(counts) - 2)
        x, y = counts[left], times[left]
        rise = (times[left + 1] - y) * (tokens - x) / (counts[left + 1] - x)
        return max(0.0, y + rise)

    def prefill_time(self, schedule: Schedule, sample: SampleTokens) -> float:
        """Return the milliseconds of one prefill of a batch of such prompts.

        Raises:
            InputError: The schedule is for another depth.
        """
        return self._mean(schedule, {sample.n_vision: Counter([sample.n_text])}, self.layer_time)

    def cost(self, shape: DecoderShape, tokens: Sequence[SampleTokens]) -> Cost:
        """Return the function of a schedule: mean milliseconds of a prefill over the samples.

        A schedule that is solved for a limit in `measure` never takes longer, and with one more
        token in every layer it would, but for the time of cuts that come or go with it; the time
        of the layers never falls when a ratio grows.

        Raises:
            InputError: `shape` has another depth, or there are no samples.
        """
        self._check_depth(shape.layers)
        if not tokens:
            raise InputError("a mean needs at least one sample, but got none; pass token counts")
        prompts: dict[int, Counter[int]] = {}
        for sample in tokens:
            prompts.setdefault(sample.n_vision, Counter())[sample.n_text] += 1
        layer = cache(self.layer_time)
        return lambda schedule: self._mean(schedule, prompts, layer)

    @property
    def measure(self) -> Measure:
        """What budgets in these milliseconds are in; equal models give equal measures."""
        return Measure(MILLISECONDS, MILLISECONDS, _Predicted(self), shares=False)

    def to_json(self) -> str:
        """Return the content of a `schedsearch.latency/1` file."""
        return _File(format=FORMAT, latency=self).model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "LatencyModel":
        """Return the model that `to_json` wrote.

        Raises:
            InputError: The text is anything else; the message names the key path.
        """
        with suppress(ValueError, RecursionError):  # what is no JSON is named below
            json.loads(text, object_pairs_hook=unique_keys, parse_int=whole_number)
        try:
            return _File.model_validate_json(text).latency
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                raise InputError("is not JSON; write it anew with `schedsearch profile`") from None
            unknown = f"is no field of {FORMAT}; {{hint}}remove it"
            raise InputError(complaint(error, unknown, field_places(_File))) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "LatencyModel":
        """Return the model of a `schedsearch.latency/1` file.

        Raises:
            InputError: The file cannot be read or used.
        """
        try:
            return cls.from_json(read_file(Path(path)).decode())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{path}: cannot be read ({reason}); write one with `schedsearch profile`"
            ) from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _mean(
        self,
        schedule: Schedule,
        prompts: Mapping[int, Counter[int]],
        layer: Callable[[int], float],
    ) -> float:
        """Return the mean time over prompts: how many there are, by vision and text tokens."""
        self._check_depth(schedule.layers)
        times = []
        for n_vision, texts in prompts.items():
            counts = Counter(schedule.counts(n_vision)).items()
            cuts = len(schedule.cut_layers(n_vision))
            fixed = self.outside_ms + self.drop_ms * cuts + (self.reduce_ms if cuts else 0.0)
            times += [
                samples * (fixed + math.fsum(n * layer(count + n_text) for count, n in counts))
                for n_text, samples in texts.items()
            ]
        return math.fsum(times) / sum(texts.total() for texts in prompts.values())

    def _check_depth(self, layers: int) -> None:
        if layers != self.layers:
            raise InputError(
                f"the latency model was measured on {self.layers} decoder layers, but got "
                f"{layers}; profile the model that is searched"
            )

    @cached_property
    def _rising(self) -> tuple[float, ...]:
        """Least-squares non-decreasing times (pool adjacent violators)."""
        pools: list[tuple[float, int]] = []
        for time in self.layer_ms:
            total, n = time, 1
            while pools and pools[-1][0] * n > total * pools[-1][1]:
                before, m = pools.pop()
                total, n = before + total, m + n
            pools.append((total, n))
        return tuple(total / n for total, n in pools for _ in range(n))


@dataclass(frozen=True)
class _Predicted:
    """`LatencyModel.cost`, but equal where the models are: methods are not."""

    model: LatencyModel

    def __call__(self, shape: DecoderShape, tokens: Sequence[SampleTokens]) -> Cost:
        return self.model.cost(shape, tokens)


class _File(BaseModel):
    model_config = _STRICT

    format: Literal["schedsearch.latency/1"]
    latency: LatencyModel
