"""A small model, an evaluator that knows what every layer needs, and a loop that asks a sampler."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from schedsearch.core.budget import Budget
from schedsearch.core.families import FAMILIES
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.samplers.budgeted import Budgeted
from schedsearch.samplers.sampler import Question

LAYERS = 8
SHAPE = DecoderShape(LAYERS, 16, 2, 2, 8, 32, 100)
TOKENS = (SampleTokens(24, 5), SampleTokens(16, 9), SampleTokens(24, 3))
LENGTHS = (16, 24)
RANKER = RankerSpec("text")
BUDGET = Budget("feasible", 0.4)
NEEDS = (1.0, 1.0, 0.8, 0.75, 0.5, 0.2, 0.1, 0.1)

Loss = Callable[[Schedule], float]


def make(sampler: type[Budgeted], family: str = "sigmoid", **settings: Any) -> Any:
    plain = {"budget": BUDGET, "shape": SHAPE, "tokens": TOKENS, "ranker": RANKER}
    return sampler(**{"family": FAMILIES[family](), **plain, **settings})


def needs(schedule: Schedule) -> float:
    """What a schedule loses where layers lack tokens that they need."""
    missing = [max(0.0, need - keep) ** 2 for need, keep in zip(NEEDS, schedule.keep, strict=True)]
    return sum(missing)


def evaluation(trial: Trial | Question) -> tuple:
    return tuple(trial.schedule.counts(n) for n in LENGTHS), trial.schedule.ranker


def opened(number: int, question: Question) -> Trial:
    return Trial(number, question.params, question.schedule, TrialState.RUNNING)


def complete(trial: Trial, loss: float, error: float | None = 1e-3) -> Trial:
    ratio = flops_ratio(SHAPE, trial.schedule, TOKENS)
    measured = Measurement(1 - loss, 0.1, 40, ratio, ratio, loss, error)
    return replace(trial, state=TrialState.COMPLETE, measurement=measured)


def failed(trial: Trial) -> Trial:
    return replace(trial, state=TrialState.FAIL, reason="no memory")


def pruned(trial: Trial) -> Trial:
    return replace(trial, state=TrialState.PRUNED, reason="hopeless")


def close(sampler: Budgeted, history: Sequence[Trial], trial: Trial, loss: float) -> Trial:
    """What becomes of a trial: stopped if it is hopeless, else measured."""
    stopped = sampler.hopeless(history, trial, loss)
    return pruned(trial) if stopped else complete(trial, loss)


def search(sampler: Budgeted, loss: Loss = needs, prunes: bool = False) -> tuple[Trial, ...]:
    """Answer every question before the next is asked, up to the end."""
    history: tuple[Trial, ...] = ()
    while questions := sampler.ask(history):
        for question in questions:
            trial = opened(len(history), question)
            lost = loss(question.schedule)
            history += (close(sampler, history, trial, lost) if prunes else complete(trial, lost),)
    assert sampler.finished(history)
    return history


def at_random(sampler: Budgeted, seed: int, loss: Loss = needs) -> tuple[Trial, ...]:
    """Answer open trials in random order, some of them badly, and ask after every answer."""
    rng = random.Random(seed)
    history: list[Trial] = []
    while not sampler.finished(history):
        for question in sampler.ask(history):
            history.append(opened(len(history), question))
        left = [trial.number for trial in history if not trial.state.finished]
        assert 0 < len(left) <= sampler.concurrent_trials
        chosen = history[rng.choice(left)]
        others = [trial for trial in history if trial is not chosen]
        history[chosen.number] = close(sampler, others, chosen, loss(chosen.schedule))
    return tuple(history)


def best_loss(sampler: Budgeted, history: Sequence[Trial]) -> float:
    best = sampler.best(history)
    assert best is not None and best.measurement is not None and best.measurement.drop is not None
    return best.measurement.drop
