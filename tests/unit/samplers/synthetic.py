"""Evaluators that know the answer, and a loop that lets a sampler ask them."""

import random
from collections.abc import Callable, Iterable, Sequence

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore, Trial, TrialState
from schedsearch.samplers.sampler import Question, Sampler

Counts = tuple[int, ...]
Differences = Callable[[Counts], Sequence[float]]  # full - candidate per sample, by kept counts


def measurement(differences: Sequence[float]) -> Measurement:
    """What is measured where each sample loses so much of the full model's 0."""
    full = [SampleScore(f"s{i}", 0.0) for i in range(len(differences))]
    scores = [SampleScore(f"s{i}", -loss) for i, loss in enumerate(differences)]
    return Measurement.of(scores, flops_ratio=0.5, kv_ratio=0.5, full=full)


def complete(number: int, question: Question, differences: Sequence[float]) -> Trial:
    return Trial(
        number,
        question.params,
        question.schedule,
        TrialState.COMPLETE,
        measurement(differences),
    )


def failed(number: int, question: Question) -> Trial:
    return Trial(number, question.params, question.schedule, TrialState.FAIL, reason="no memory")


def running(number: int, question: Question) -> Trial:
    return Trial(number, question.params, question.schedule, TrialState.RUNNING)


def enqueued(number: int, schedule: Schedule, differences: Sequence[float]) -> Trial:
    """A schedule that a person asked to have tried."""
    return complete(number, Question({}, schedule), differences)


def search(
    sampler: Sampler, n_max: int, differences: Differences, history: Iterable[Trial] = ()
) -> tuple[list[Trial], list[int]]:
    """Return the history at the end, and how many questions came in each round."""
    trials, rounds = list(history), []
    while questions := sampler.ask(trials):
        rounds.append(len(questions))
        trials += [
            complete(number, question, differences(question.schedule.counts(n_max)))
            for number, question in enumerate(questions, start=len(trials))
        ]
    assert sampler.finished(trials)
    return trials, rounds


def all_or_nothing(accepted: Callable[[Counts], bool]) -> Differences:
    """Two samples that both keep their score, or both lose it."""
    return lambda counts: [0.0, 0.0] if accepted(counts) else [1.0, 1.0]


def per_sample(needs: Sequence[Counts]) -> Differences:
    """Sample i keeps its score if and only if every layer l keeps needs[i][l] tokens."""
    return lambda counts: [
        float(any(c < need for c, need in zip(counts, row, strict=True))) for row in needs
    ]


def arbitrary(seed: int, share: float, n_max: int) -> Callable[[Counts], bool]:
    """Accepts keep-all, and each other schedule or not by the toss of a coin."""
    return lambda counts: min(counts) == n_max or random.Random(f"{seed} {counts}").random() < share
