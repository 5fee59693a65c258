"""What a study evaluates, as plain values: the coordinator needs no model and no images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schedsearch.core.canonical import digest
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio, kv_ratio
from schedsearch.core.sample import Split
from schedsearch.core.schedule import Schedule, Target
from schedsearch.core.trial import Work


@dataclass(frozen=True)
class Subject:
    """A model, a metric and a set of samples.

    Attributes:
        split: Of the samples.
        ids: Sample ids, in calibration order.
        keys: Content hash of each sample; scores are stored under it.
        tokens: Prompt lengths of each sample.
        shape: The decoder.
        target: The model, as schedules made for it name it.
        context: Everything else that a score depends on, but for ranker and counts.
        images: Content hashes of each sample's images, by which splits are told apart.
        greatest: No score is above this; infinity where the metric has no bound.
        full_pass: Work of one unreduced evaluation of all samples; 0 where it is not known.
    """

    split: Split
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    tokens: tuple[SampleTokens, ...]
    shape: DecoderShape
    target: Target | None
    context: Mapping[str, Any]
    images: tuple[tuple[str, ...], ...] = ()
    greatest: float = math.inf
    full_pass: Work = Work()

    @cached_property
    def n_visions(self) -> tuple[int, ...]:
        """Distinct numbers of vision tokens, ascending."""
        return tuple(sorted({sample.n_vision for sample in self.tokens}))

    @property
    def full(self) -> Schedule:
        """The schedule under which every layer keeps everything."""
        return Schedule.full(self.shape.layers)

    def evaluation_keys(self, schedule: Schedule) -> list[tuple[str, tuple[int, ...]]]:
        """Content hash and counts of each sample under a schedule."""
        counts = {n: schedule.counts(n) for n in self.n_visions}
        pairs = zip(self.keys, self.tokens, strict=True)
        return [(key, counts[sample.n_vision]) for key, sample in pairs]

    def context_of(self, schedule: Schedule) -> dict[str, Any]:
        """The context with the ranker; a schedule that drops nothing has none."""
        if self.full.same_evaluation(Schedule(schedule.keep), self.n_visions):
            return {**self.context, "ranker": None}
        ranker = schedule.ranker
        return {
            **self.context,
            "ranker": {"name": ranker.name, "params": dict(ranker.params)},
        }

    def context_digest(self, schedule: Schedule) -> str:
        """Hash of `context_of`."""
        return digest(self.context_of(schedule))

    def costs(self, schedule: Schedule) -> tuple[float, float]:
        """FLOPs ratio and KV ratio of a schedule on these samples."""
        return (
            flops_ratio(self.shape, schedule, self.tokens),
            kv_ratio(self.shape, schedule, self.tokens),
        )
