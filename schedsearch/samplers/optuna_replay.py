"""Studies of Optuna in memory, rebuilt from a history, and the points that are named in them."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import TrialState as State

from schedsearch.core.pareto import full
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.known import Known, Point

_TRIES = 8

_STATELESS: Mapping[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
}
# What these know lies in attributes of study and trials, which only asking writes.
_STATEFUL: Mapping[str, Callable[[int], BaseSampler]] = {
    "cmaes": lambda seed: CmaEsSampler(seed=seed),
    "qmc": lambda seed: QMCSampler(scramble=True, seed=seed),
}


@dataclass(frozen=True)
class Replay:
    """One question to a sampler of Optuna.

    Attributes:
        known: What the question depends on.
        space: What is searched.
        method: Of `OptunaSampler`.
        study_seed: Of a sampler that is asked for the whole history.
        question_seed: Of one that is given the history.
        concurrent_trials: How many are open at once.
        starts: Points that were asked first.
    """

    known: Known
    space: Space
    method: str
    study_seed: int
    question_seed: int
    concurrent_trials: int
    starts: tuple[Point, ...]

    def named(self) -> Iterator[Point]:
        """Yield what the sampler names, each with those before it running; 8 points at most."""
        with quiet():
            study = self.study()
        for _ in range(_TRIES):
            with quiet():
                params = study.ask(self.distributions).params
            yield self.space.check(params)

    def study(self) -> optuna.Study:
        """Return the study in which Optuna is asked."""
        stateless = _STATELESS.get(self.method)
        if stateless is None:
            return self._asked_again()
        study = optuna.create_study(sampler=stateless(self.question_seed))
        outcomes = [(point, *_outcome(trial)) for point, trial in self.known.answered]
        outcomes += [(point, State.RUNNING, None) for point, _ in self.known.pending]
        for point, state, value in outcomes:
            if state is not State.FAIL:
                study.add_trial(
                    optuna.trial.create_trial(
                        state=state, value=value, params=point, distributions=self.distributions
                    )
                )
        return study

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space in the words of Optuna."""
        return {each.name: distribution_of(each) for each in self.space.parameters}

    def _asked_again(self) -> optuna.Study:
        """Ask for every point again, each with the answers that were known at its time."""
        study = optuna.create_study(sampler=_STATEFUL[self.method](self.study_seed))
        untold: list[tuple[optuna.Trial, Trial]] = []

        def tell(keep: int) -> None:
            while len(untold) > keep:
                asked, trial = untold.pop(0)
                state, value = _outcome(trial)
                study.tell(asked, value, state)

        for point, trial in self.known.answered:
            tell(self.concurrent_trials - 1)
            untold.append((self._ask_again(study, point), trial))
        for behind, (point, _) in enumerate(self.known.pending, start=1):
            tell(max(0, self.concurrent_trials - behind))
            self._ask_again(study, point)
        tell(0)
        return study

    def _ask_again(self, study: optuna.Study, point: Point) -> optuna.Trial:
        """Let the sampler name points as it did before, up to the one that was asked.

        It has to name those again that were passed over: it would name them for the next question.
        A start, and a random point after tries in vain, is put to it instead.
        """
        if point not in self.starts:
            for _ in range(_TRIES):
                trial = study.ask(self.distributions)
                if self.space.check(trial.params) == point:
                    return trial
        study.enqueue_trial(point)
        trial = study.ask()
        assert trial.relative_params is not None, "the sampler names a point when this is read"
        for each in self.space.parameters:
            if each.integer:
                trial.suggest_int(each.name, int(each.low), int(each.high), log=each.log)
            else:
                trial.suggest_float(each.name, each.low, each.high, log=each.log)
        return trial


def _outcome(trial: Trial) -> tuple[State, float | None]:
    found = full(trial)
    if found is not None:
        return State.COMPLETE, found[1]
    return (State.PRUNED if trial.state is TrialState.PRUNED else State.FAIL), None


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Return a parameter in the words of Optuna."""
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna log nothing but errors, and not warn that a sampler is experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
