"""How objectives rank schedules, against how a metric that knows the answers ranks them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schedsearch.app.bootstrap import Progress
from schedsearch.core.budget import Budget
from schedsearch.core.families.layerwise import Layerwise, random_monotone
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.subject import Subject
from schedsearch.execution.executor import Executor

LABEL_FREE = ("answer_match", "kl_divergence", "last_state_cosine")
FLOPS = "FLOPs ratio"

_RESAMPLES = 2000
_ZERO = 1e-9


@dataclass(frozen=True)
class Ranked:
    """A random schedule and what the objectives say of it.

    Attributes:
        keep: Ratio per layer.
        flops_ratio: Of the schedule.
        scores: Mean over the samples by name of the metric.
    """

    keep: tuple[float, ...]
    flops_ratio: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Objectives:
    """How far objectives that need no answers rank schedules as a metric does that needs them.

    Attributes:
        metric: The one that knows the answers.
        schedules: Random ones that never grow with depth, spread over all budgets.
        spearman: Correlation of the ranks with the metric's, by objective, with a bootstrap
            interval over the schedules; None where all are equal. The FLOPs ratio is the
            baseline: an objective that knew nothing but the cost.
        beyond_cost: The same once what follows from the FLOPs ratio's ranks is taken out of both:
            how an objective tells schedules of equal cost apart.
    """

    metric: str
    schedules: tuple[Ranked, ...]
    spearman: Mapping[str, Interval | None]
    beyond_cost: Mapping[str, Interval | None]


def rank_schedules(
    workers: Executor,
    subject: Subject,
    metric: str,
    ranker: RankerSpec,
    schedules: int,
    progress: Progress,
) -> Objectives | None:
    """Score random schedules by every objective; None where samples have no answers to compare.

    Args:
        workers: Score them.
        subject: What the schedules are scored on.
        metric: Compared with if it knows the answers, else exact match is.
        ranker: Of the schedules.
        schedules: How many.
        progress: Starts a progress bar by name.
    """
    if not workers.ask("labelled", subject.split):
        return None
    truth_name = "exact_match" if metric in LABEL_FREE else metric
    shape, tokens = subject.shape, subject.tokens
    drawn = random_schedules(schedules, shape, tokens, ranker)
    means: list[dict[str, float]] = [{} for _ in drawn]
    for name in (truth_name, *LABEL_FREE):
        bar = progress(name)
        found, _ = workers.ask("means", name, subject.split, drawn, on_progress=bar)
        for mean, scores in zip(found, means, strict=True):
            scores[name] = mean
    rows = tuple(
        Ranked(schedule.keep, flops_ratio(shape, schedule, tokens), scores)
        for schedule, scores in zip(drawn, means, strict=True)
    )
    truth = [row.scores[truth_name] for row in rows]
    told = {name: [row.scores[name] for row in rows] for name in LABEL_FREE}
    flops = [row.flops_ratio for row in rows]
    return Objectives(
        metric=truth_name,
        schedules=rows,
        spearman={name: spearman(values, truth) for name, values in {**told, FLOPS: flops}.items()},
        beyond_cost={name: spearman(values, truth, flops) for name, values in told.items()},
    )


def random_schedules(
    schedules: int, shape: DecoderShape, tokens: Sequence[SampleTokens], ranker: RankerSpec
) -> list[Schedule]:
    """Return schedules of budgets in equal steps over all that is feasible."""
    family = Layerwise()
    return [
        family.schedule(
            random_monotone(family, shape.layers, seed=i),
            Budget("feasible", (i + 0.5) / schedules),
            shape,
            tokens,
            ranker,
        )
        for i in range(schedules)
    ]


def spearman(
    first: Sequence[float], second: Sequence[float], given: Sequence[float] | None = None
) -> Interval | None:
    """Return the correlation of the ranks, ties at their mean, with its 95 % interval.

    The interval holds the middle 95 % of 2000 bootstrap resamples of the rows; those in which one
    side is constant say nothing and are left out.

    Args:
        first: One value per row.
        second: As many.
        given: As many; then the partial correlation, without what these ranks explain of both.

    Returns:
        None where one side is constant, so that it ranks nothing.
    """
    columns = [first, second] if given is None else [first, second, given]
    rows = np.array(columns, dtype=float)
    value = _correlation(rows)
    if value is None:
        return None
    n = rows.shape[1]
    draws = np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))
    found = [each for draw in draws if (each := _correlation(rows[:, draw])) is not None]
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(value, float(low), float(high), n)


def _correlation(columns: NDArray[np.float64]) -> float | None:
    """Correlation of the ranks of the first two, given the third; None where one is constant."""
    ranks = np.array([_ranks(values) for values in columns])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    first, second, *given = centred
    for cost in given:
        if cost.any():
            first = first - cost * (first @ cost) / (cost @ cost)
            second = second - cost * (second @ cost) / (cost @ cost)
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return min(1.0, max(-1.0, float(first @ second) / scale)) if scale > _ZERO else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0; equal values have the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts + 1) / 2)[place]
    return means
