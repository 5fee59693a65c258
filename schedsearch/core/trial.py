"""Trials: what an evaluation is asked, what it answers, and what became of a schedule."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from schedsearch.core.plugin import ParamValue
from schedsearch.core.sample import Grid, Split
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError, RunError


class Portion(NamedTuple):
    """Some samples of a set, as a worker has them in memory.

    Attributes:
        split: Of the set.
        grid: As in `Task`.
        sample_ids: The samples, each once.
    """

    split: Split
    grid: Grid | None
    sample_ids: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """The question to an evaluator: this schedule, on these samples of that split.

    Attributes:
        schedule: What is evaluated.
        split: Of the samples.
        sample_ids: The samples, each once.
        shared: Leading layers whose counts the tasks that follow will probably share. A hint what
            to keep for reuse; scores do not depend on it.
        grid: Patches of each image, where the images are made smaller; None for images as they are.
    """

    schedule: Schedule
    split: Split
    sample_ids: tuple[str, ...]
    shared: int = 0
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if not self.sample_ids or len(set(self.sample_ids)) < len(self.sample_ids):
            raise InputError(
                f"a task needs samples, each once, but got {len(self.sample_ids)} ids of which "
                f"{len(set(self.sample_ids))} differ; name every sample once"
            )

    @property
    def portion(self) -> Portion:
        """What it is about, whatever the schedule."""
        return Portion(self.split, self.grid, self.sample_ids)


@dataclass(frozen=True)
class Work:
    """What evaluations have cost, in the decoder alone; independent of the hardware.

    Attributes:
        flops: Spent, forced answers included.
        layer_forwards: Decoder layers run, times samples.
    """

    flops: int = 0
    layer_forwards: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.layer_forwards + other.layer_forwards)

    def __sub__(self, other: "Work") -> "Work":
        return Work(self.flops - other.flops, self.layer_forwards - other.layer_forwards)


@dataclass(frozen=True)
class Effort:
    """Work relative to one unreduced pass over the samples: full-forward equivalents.

    Attributes:
        spent: FLOPs spent / FLOPs of one full pass; single cuts before the trials included.
        naive: Those of the trials, had every schedule been evaluated on all samples from the first
            layer on, each layer with its own count of tokens.
    """

    spent: float = 0.0
    naive: float = 0.0


@dataclass(frozen=True)
class SampleScore:
    """The metric on one sample (larger is better), and what the model answered, if it spoke."""

    sample_id: str
    score: float
    prediction: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """What a worker made of a task.

    Attributes:
        scores: One per sample, in the order of the task; none where it failed.
        failure: Why it has no scores.
        work: What it has cost, in either case.
        short: Whether it failed for want of memory, of which another worker may have more.
    """

    scores: tuple[SampleScore, ...] = ()
    failure: str = ""
    work: Work = Work()
    short: bool = False


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

    @property
    def chance(self) -> float:
        """The standard error that changes which cancel out give the drop, see `chance`."""
        if self.drop is None or self.drop_standard_error is None:
            return 0.0
        squares = self.n * ((self.n - 1) * self.drop_standard_error**2 + self.drop**2)
        return chance(self.drop, squares, self.n)

    @property
    def missed(self) -> float:
        """The share of samples that score 0, where all score 0 or 1; else 0, as it is not known."""
        if self.standard_error is None:
            return 0.0
        squares = self.n * ((self.n - 1) * self.standard_error**2 + self.score**2)
        return 1 - self.score if abs(squares - self.n * self.score) < _ROUNDING else 0.0

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


def least_drop(
    full: Sequence[SampleScore],
    scores: Iterable[SampleScore],
    greatest: float,
    noise: float = 0.0,
) -> float:
    """Return the least mean drop against keep-all that a schedule can still end with.

    Never above the drop that is measured in the end, not even by rounding.

    Args:
        full: Keep-all's scores of all samples.
        scores: The schedule's scores of some of them.
        greatest: No score is above this; infinity where no bound is known.
        noise: How many standard errors of `chance` are taken off; of a metric between 0 and 1, for
            which that is least as well if every sample without a score gets the greatest.
    """
    known = {one.sample_id: one.score for one in scores}
    drops = [one.score - known.get(one.sample_id, greatest) for one in full]
    if -math.inf in drops:
        return -math.inf
    drop = math.fsum(drops) / len(full)
    if not noise:
        return drop
    return drop - noise * chance(drop, math.fsum(one * one for one in drops), len(full))


def chance(drop: float, squares: float, n: int) -> float:
    """Return the standard error that changes which cancel out give a mean drop.

    A schedule changes some answers for no reason, for better as often as for worse. Gains are
    taken to be such changes, and as many losses with them: `sqrt(2 gains) / n` of a 0/1 metric,
    `sqrt(sum(d^2) - sum(d)) / n` of any between 0 and 1. Where nothing is gained it is 0, so that
    losses alone, however few, are no chance.

    Args:
        drop: Mean of the samples' drops.
        squares: Sum of their squares.
        n: How many there are.
    """
    cancelling = squares - n * drop
    return math.sqrt(cancelling) / n if cancelling > _ROUNDING else 0.0


# What sums of drops between -1 and 1 may be off by; a single gain is worth 2.
_ROUNDING = 1e-6


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error, None for a single value."""
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return math.fsum(values) / n, error


class TrialState(StrEnum):
    """Where a trial stands; the last four are final.

    Only complete trials have been measured on all samples. Of a screened one it is known that some
    samples do not reject it, of a pruned one that all samples would.
    """

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    SCREENED = "SCREENED"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self not in (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True)
class Trial:
    """One schedule and what became of it.

    Attributes:
        number: Counts from 0 within the study, in the order in which trials were asked.
        params: What the sampler chose; none where a person asked for the schedule.
        schedule: What the family made of it.
        state: Where the trial stands.
        measurement: Of a complete trial, and of no other: a partial mean is not comparable.
        reason: Why a trial failed or was pruned; how many samples did not reject a screened one.
        samples: How many samples are asked of those that cannot gain on keep-all, after all that
            can, in reading order; None for all samples. Only trials that ask all can be complete.
        read: How many samples, in reading order, had been read when the trial was closed.
        expected: What the samples read let one expect of a screened trial's drop over all samples;
            None of other trials, and of those that an earlier version has closed.
    """

    number: int
    params: Mapping[str, ParamValue]
    schedule: Schedule
    state: TrialState = TrialState.WAITING
    measurement: Measurement | None = None
    reason: str = ""
    samples: int | None = None
    read: int = 0
    expected: float | None = None

    def __post_init__(self) -> None:
        complete = self.state is TrialState.COMPLETE
        assert (self.measurement is not None) == complete, "complete trials alone are measured"
        whole = self.samples is None
        assert whole or not complete, "a part of the samples completes nothing"
        screened = self.state is TrialState.SCREENED
        assert not screened or not whole, "all samples screen nothing"
        assert screened or self.expected is None, "screened trials alone are estimated"
        unexplained = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
        assert self.reason or self.state in unexplained, "no reason"

    @property
    def enqueued(self) -> bool:
        """Whether a person asked for the schedule, and no sampler."""
        return not self.params
