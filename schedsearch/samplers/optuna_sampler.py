"""The samplers of Optuna, on a study in memory that is rebuilt from the history."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, TPESampler
from optuna.trial import TrialState as State

from schedsearch.core.space import Parameter
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.budgeted import Budgeted, Known, Point, full

_TRIES = 8

_STATELESS: Mapping[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
}
# What these know lies in attributes of study and trials, which only asking writes.
_STATEFUL: Mapping[str, Callable[[int], BaseSampler]] = {
    "cmaes": lambda seed: CmaEsSampler(seed=seed),
    "qmc": lambda seed: QMCSampler(scramble=True, seed=seed),
}


@dataclass(frozen=True, kw_only=True)
class OptunaSampler(Budgeted):
    """Asks what a sampler of Optuna would ask; what is minimised is the drop.

    It sees complete trials with their drop, pruned ones as pruned, open ones as running, and no
    others. Where it names a point that is out of reach or known, it is asked again with that one
    running, 8 times at most; then random points follow.

    Attributes:
        method: `gp` and `tpe` are given the history as it is, and a seed of each question. `cmaes`,
            which needs the package of that name, and `qmc` are asked for the whole history again.
    """

    method: str = "tpe"

    name: ClassVar[str] = "optuna"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = sorted({**_STATELESS, **_STATEFUL})
        if self.method not in known:
            raise InputError(
                f"`method` must be one of {', '.join(known)}, but got {self.method!r}; name one"
            )

    def replayed(self, known: Known) -> optuna.Study:
        """Return the study in which Optuna is asked for the next question."""
        stateless = _STATELESS.get(self.method)
        if stateless is None:
            return self._replay(known)
        seed = Random(f"{self.seed} {known.number}").getrandbits(32)
        study = optuna.create_study(sampler=stateless(seed))
        outcomes = [(point, *_outcome(trial)) for point, trial in known.answered]
        outcomes += [(point, State.RUNNING, None) for point in known.pending]
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
        return {each.name: _distribution(each) for each in self.space.parameters}

    def _candidates(self, known: Known) -> Iterator[Point]:
        with _quiet():
            study = self.replayed(known)
        for _ in range(_TRIES):
            with _quiet():
                params = study.ask(self.distributions).params
            yield self.space.check(params)

    def _replay(self, known: Known) -> optuna.Study:
        """Ask for every point again, each with the answers that were known at its time."""
        seed = Random(self.seed).getrandbits(31)
        study = optuna.create_study(sampler=_STATEFUL[self.method](seed))
        untold: list[tuple[optuna.Trial, Trial]] = []

        def tell(keep: int) -> None:
            while len(untold) > keep:
                asked, trial = untold.pop(0)
                state, value = _outcome(trial)
                study.tell(asked, value, state)

        for point, trial in known.answered:
            tell(self.questions - 1)
            study.enqueue_trial(point)
            untold.append((study.ask(self.distributions), trial))
        for behind, point in enumerate(known.pending, start=1):
            tell(max(0, self.questions - behind))
            study.enqueue_trial(point)
            study.ask(self.distributions)
        tell(0)
        return study


def _outcome(trial: Trial) -> tuple[State, float | None]:
    found = full(trial)
    if found is not None:
        return State.COMPLETE, found[1]
    return (State.PRUNED if trial.state is TrialState.PRUNED else State.FAIL), None


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Optuna log nothing but errors, and not warn that a sampler is experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
