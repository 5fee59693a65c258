"""Evaluators that know the answer, and a loop that lets a sampler ask them."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

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


def answered(
    sampler: Sampler,
    history: Sequence[Trial],
    number: int,
    question: Question,
    differences: Sequence[float],
    least: float = 0.0,
    probes: Sequence[int] = (),
) -> Trial:
    """What becomes of a question whose samples are read one by one, probes before all others.

    Args:
        sampler: Says when to stop.
        history: What it knows.
        number: Of the trial.
        question: What is asked.
        differences: What each sample loses.
        least: The least that a sample can lose.
        probes: Samples that are known whatever the question asks.
    """
    trial = running(number, question)
    size, n = question.samples or len(differences), len(differences)
    for read in range(not probes, size + 1):
        known = {*probes, *range(read)}
        least_drop = (sum(differences[i] for i in known) + least * (n - len(known))) / n
        if sampler.hopeless(history, trial, least_drop):
            return replace(trial, state=TrialState.PRUNED, reason="hopeless")
    if question.samples:
        reason = f"not rejected by {size} of {n} samples"
        return replace(trial, state=TrialState.SCREENED, reason=reason, read=size)
    return replace(trial, state=TrialState.COMPLETE, measurement=measurement(differences))


def failed(number: int, question: Question) -> Trial:
    trial = Trial(number, question.params, question.schedule, TrialState.FAIL, reason="no memory")
    return replace(trial, samples=question.samples)


def running(number: int, question: Question) -> Trial:
    trial = Trial(number, question.params, question.schedule, TrialState.RUNNING)
    return replace(trial, samples=question.samples)


def enqueued(number: int, schedule: Schedule, differences: Sequence[float]) -> Trial:
    """A schedule that a person asked to have tried."""
    return complete(number, Question({}, schedule), differences)


def search(
    sampler: Sampler,
    n_max: int,
    differences: Differences,
    history: Iterable[Trial] = (),
    stops: bool = False,
    probes: int = 0,
) -> tuple[list[Trial], list[int]]:
    """Return the history at the end, and how many questions came in each round.

    Args:
        sampler: Asks.
        n_max: The most vision tokens of a sample.
        differences: Answers.
        history: What is known before.
        stops: Whether a trial ends as soon as it is hopeless.
        probes: How many samples, any, a trial that may end asks before all others.
    """
    trials, rounds = list(history), []
    while questions := sampler.ask(trials):
        rounds.append(len(questions))
        known = tuple(trials)
        for number, question in enumerate(questions, start=len(trials)):
            losses = differences(question.schedule.counts(n_max))
            if stops:
                first = random.Random(number).sample(range(len(losses)), min(probes, len(losses)))
                trials.append(answered(sampler, known, number, question, losses, probes=first))
            else:
                assert question.samples is None
                trials.append(complete(number, question, losses))
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
