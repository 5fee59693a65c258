"""What a study evaluates, as plain values: who coordinates it needs no model and no images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from schedsearch.core.canonical import digest
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio, kv_ratio
from schedsearch.core.sample import Grid, Split
from schedsearch.core.schedule import RankerSpec, Schedule, Target
from schedsearch.core.trial import Work


class Encoded(NamedTuple):
    """What is to be known of a sample before it is scored.

    Attributes:
        key: Hash of its content: two samples of the same hash score the same.
        tokens: Length of its prompt.
        images: Hashes of its images.
        work: What it costs if every layer keeps everything.
    """

    key: str
    tokens: SampleTokens
    images: tuple[str, ...]
    work: Work


@dataclass(frozen=True)
class Subject:
    """A model, a metric and a set of samples.

    Attributes:
        name: Of the set.
        digest: Hash of its content.
        split: Of the samples.
        ids: Sample ids, in calibration order.
        keys: Content hash of each sample; scores are stored under it.
        tokens: Prompt lengths of each sample.
        shape: The decoder.
        target: The model, as schedules made for it name it.
        context: Everything else that a score depends on, but for ranker and counts.
        images: Content hashes of each sample's images, by which splits are told apart.
        greatest: No score is above this; infinity where the metric has no bound.
        least: No score is below this; minus infinity where the metric has no bound.
        binary: Whether every score is 0 or 1.
        full_pass: Work of one unreduced evaluation of all samples; 0 where it is not known.
        grid: As in `Task`.
    """

    name: str
    digest: str
    split: Split
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    tokens: tuple[SampleTokens, ...]
    shape: DecoderShape
    target: Target | None
    context: Mapping[str, Any]
    images: tuple[tuple[str, ...], ...] = ()
    greatest: float = math.inf
    least: float = -math.inf
    binary: bool = False
    full_pass: Work = Work()
    grid: Grid | None = None

    @property
    def span(self) -> float:
        """Greatest less least score; infinity where the metric lacks a bound."""
        return self.greatest - self.least

    @cached_property
    def n_visions(self) -> tuple[int, ...]:
        """Distinct numbers of vision tokens, ascending."""
        return tuple(sorted({sample.n_vision for sample in self.tokens}))

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.ids)}

    def tokens_of(self, name: str) -> SampleTokens:
        """Prompt length of a sample."""
        return self.tokens[self._places[name]]

    @property
    def full(self) -> Schedule:
        """The schedule under which every layer keeps everything."""
        return Schedule.full(self.shape.layers)

    def evaluation_keys(
        self, schedule: Schedule, ids: Sequence[str]
    ) -> list[tuple[str, tuple[int, ...]]]:
        """Content hash and counts of some samples under a schedule, in their order."""
        counts = {n: schedule.counts(n) for n in self.n_visions}
        places = [self._places[name] for name in ids]
        return [(self.keys[at], counts[self.tokens[at].n_vision]) for at in places]

    def evaluation(self, schedule: Schedule) -> tuple[object, ...]:
        """What two schedules share that are the same evaluation of these samples."""
        counts = tuple(schedule.counts(n) for n in self.n_visions)
        return (self.ranker_of(schedule), *counts)

    def ranker_of(self, schedule: Schedule) -> RankerSpec | None:
        """The ranker that a schedule's scores depend on; one that drops nothing has none."""
        kept_all = all(count == n for n in self.n_visions for count in schedule.counts(n))
        return None if kept_all else schedule.ranker

    def context_of(self, schedule: Schedule) -> dict[str, Any]:
        """The context with the ranker; a schedule that drops nothing has none."""
        ranker = self.ranker_of(schedule)
        named = ranker and {"name": ranker.name, "params": dict(ranker.params)}
        return {**self.context, "ranker": named}

    def context_digest(self, schedule: Schedule) -> str:
        """Hash of `context_of`."""
        return digest(self.context_of(schedule))

    def costs(self, schedule: Schedule) -> tuple[float, float]:
        """FLOPs ratio and KV ratio of a schedule on these samples."""
        return (
            flops_ratio(self.shape, schedule, self.tokens),
            kv_ratio(self.shape, schedule, self.tokens),
        )
