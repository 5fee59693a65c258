"""Trials: what an evaluation is asked, what it answers, and what became of a schedule."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from schedsearch.core.plugin import ParamValue
from schedsearch.core.sample import Split
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError, RunError


@dataclass(frozen=True)
class Task:
    """The question to an evaluator: this schedule, on these samples of that split."""

    schedule: Schedule
    split: Split
    sample_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.sample_ids or len(set(self.sample_ids)) < len(self.sample_ids):
            raise InputError(
                f"a task needs samples, each once, but got {len(self.sample_ids)} ids of which "
                f"{len(set(self.sample_ids))} differ; name every sample once"
            )


@dataclass(frozen=True)
class SampleScore:
    """The metric on one sample (larger is better), and what the model answered, if it spoke."""

    sample_id: str
    score: float
    prediction: str | None = None


@dataclass(frozen=True)
class Measurement:
    """A schedule's quality and cost on a set of samples.

    Attributes:
        score: Mean of the metric over the samples; larger is better.
        standard_error: Of that mean; None for a single sample.
        n: Number of samples.
        flops_ratio: As `schedsearch.core.flops.flops_ratio` defines it.
        kv_ratio: As `schedsearch.core.flops.kv_ratio` defines it.
        drop: Mean over the samples of keep-all's score minus this schedule's; 0 for keep-all
            itself, None where keep-all was not measured.
        drop_standard_error: Of that mean, from the differences of single samples; None where
            `drop` is, and for a single sample.
    """

    score: float
    standard_error: float | None
    n: int
    flops_ratio: float
    kv_ratio: float
    drop: float | None = None
    drop_standard_error: float | None = None

    @classmethod
    def of(
        cls,
        scores: Sequence[SampleScore],
        flops_ratio: float,
        kv_ratio: float,
        full: Sequence[SampleScore] | None = None,
    ) -> Self:
        """Return the mean over `scores`, with its standard error.

        Args:
            scores: Under the schedule.
            flops_ratio: Of the schedule.
            kv_ratio: Of the schedule.
            full: Keep-all's scores of the same samples in the same order, where they are known.

        Raises:
            RunError: There are no scores, or one is not finite; the message names the sample.
        """
        if not scores:
            raise RunError("a measurement needs scores, but got none; evaluate at least one sample")
        for item in scores:
            if not math.isfinite(item.score):
                raise RunError(
                    f"the metric must be finite, but got {item.score} on sample "
                    f"{item.sample_id}; correct the metric or leave the sample out"
                )
        score, error = _mean([item.score for item in scores])
        drop = drop_error = None
        if full is not None:
            pairs = list(zip(full, scores, strict=True))
            assert all(a.sample_id == b.sample_id for a, b in pairs), "unpaired samples"
            drop, drop_error = _mean([a.score - b.score for a, b in pairs])
        return cls(score, error, len(scores), flops_ratio, kv_ratio, drop, drop_error)


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error, None for a single value."""
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return math.fsum(values) / n, error


class TrialState(StrEnum):
    """Where a trial stands; the last three are final."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Trial:
    """One schedule and what became of it.

    Attributes:
        number: Counts from 0 within the study, in the order in which trials were asked.
        params: What the sampler chose.
        schedule: What the family made of it.
        state: Where the trial stands.
        measurement: Of a complete trial, and of no other: a partial mean is not comparable.
        reason: Why a trial failed or was pruned.
    """

    number: int
    params: Mapping[str, ParamValue]
    schedule: Schedule
    state: TrialState = TrialState.WAITING
    measurement: Measurement | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        complete = self.state is TrialState.COMPLETE
        assert (self.measurement is not None) == complete, "complete trials alone are measured"
        assert self.reason or self.state not in (TrialState.FAIL, TrialState.PRUNED), "no reason"
