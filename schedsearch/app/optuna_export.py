"""Studies for the tools of Optuna, such as optuna-dashboard: written to a database of theirs."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from schedsearch.app.optuna_database import OptunaStudy, check_place, database_url, write_study
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full
from schedsearch.core.plugin import ParamValue
from schedsearch.core.reading import OnProgress
from schedsearch.core.space import Parameter
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.acceptance import Acceptance
from schedsearch.samplers.additive import Additive
from schedsearch.samplers.auto import Auto
from schedsearch.samplers.budgeted import Budgeted
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.optuna_replay import distribution_of
from schedsearch.samplers.sampler import StudySampler
from schedsearch.store.address import name_of
from schedsearch.store.trials import Attempt

_TOLD = ("score", "standard_error", "drop", "drop_standard_error", "flops_ratio", "kv_ratio", "n")

_STATES = {
    TrialState.WAITING: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.SCREENED: OptunaState.PRUNED,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAIL: OptunaState.FAIL,
}

_SEARCH = ("sampler", "family", "acceptance", "tolerance", "budget", "max_drop")
"""Settings of a search that are few and say what it is for."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        database: Its path, or its URL without a password.
        study: Name of the study there.
        trials: How many it has.
    """

    database: str
    study: str
    trials: int


@dataclass(frozen=True)
class _Aim:
    """What a search is after, in the words of Optuna.

    Attributes:
        metrics: Names of the values, which are minimised.
        values: Those of a trial that was measured on all samples.
        constraints: What must be at most 0 for such a trial to be a result.
    """

    metrics: tuple[str, ...]
    values: Callable[[Trial], list[float]]
    constraints: Callable[[Trial], dict[str, float]]


def export_to_optuna(
    view: StudyView,
    target: str | os.PathLike[str],
    *,
    force: bool = False,
    on_progress: OnProgress = lambda _done, _all: None,
) -> Exported:
    """Write a study as it is now to a database of Optuna, wholly or not at all.

    What is minimised is the drop; without a budget also the cost. What a search may lose, or its
    budget, is a constraint: so Optuna's best trials are results of this search, too.

    Args:
        view: The study.
        target: URL of the database, or path of an SQLite file; made if it is not there.
        force: Replace a study of that name.
        on_progress: Told how many trials are written.

    Raises:
        InputError: The database cannot be opened, is no database of Optuna, or has a study of that
            name.
        RunError: It cannot be written.
    """
    url = database_url(target)
    check_place(url, view.name, force)  # thousands of trials take a while to be read
    now = view.snapshot()
    aim, trials = _aim(now), now.trials
    attempts = now.store.last_attempts(now.name)
    distributions = _distributions(now.sampler, trials)
    made = [_frozen(one, aim, distributions, attempts.get(one.number)) for one in trials]
    study = OptunaStudy(now.name, aim.metrics, _attributes(now), made)
    write_study(url, study, force, on_progress)
    return Exported(name_of(url), now.name, len(made))


def _aim(view: StudyView) -> _Aim:
    sampler, costs = view.sampler, view.costs

    def both(trial: Trial) -> list[float]:
        cost, drop = costs(trial)
        return [drop, cost]

    two = ("drop", view.cost)
    if isinstance(sampler, GSearch):
        rule = Acceptance(sampler.acceptance, sampler.tolerance, sampler.noise)
        return _Aim(two, both, lambda trial: _tolerance(rule, trial))
    if isinstance(sampler, (Additive, Budgeted)) and sampler.name != "frontier":
        budget = sampler.budget
        if budget is None:
            most = getattr(sampler, "max_drop", 0.0)
            return _Aim(two, both, lambda trial: {"max_drop": both(trial)[0] - most})
        cost = budget.cost(sampler.shape, sampler.tokens)
        limit = budget.limit(sampler.shape, sampler.tokens, sampler.first)
        return _Aim(
            ("drop",),
            lambda trial: both(trial)[:1],
            lambda trial: {"budget": cost(trial.schedule) - limit},
        )
    return _Aim(two, both, lambda _trial: {})


def _tolerance(rule: Acceptance, trial: Trial) -> dict[str, float]:
    assert trial.measurement is not None, "measured"
    over = rule.loss(trial.measurement) - rule.tolerance
    return {"tolerance": over} if math.isfinite(over) else {}  # a single sample has no bound


def _frozen(
    trial: Trial,
    aim: _Aim,
    distributions: Mapping[str, BaseDistribution],
    attempt: Attempt | None,
) -> FrozenTrial:
    measured = full(trial)
    # Complete without a drop, as of earlier versions, has no values that Optuna could compare.
    state = _STATES.get(trial.state, OptunaState.COMPLETE if measured else OptunaState.PRUNED)
    last = trial.expected if measured is None else measured[1]
    read = trial.read or (measured[0].n if measured else 0)
    constraints = aim.constraints(trial) if measured else {}
    made = create_trial(
        state=state,
        values=aim.values(trial) if measured else None,
        params=dict(trial.params),
        distributions={name: distributions[name] for name in trial.params},
        user_attrs=_told(trial),
        intermediate_values={} if last is None else {read: last},
        constraints=constraints,
        # The form of before Optuna 5: optuna-dashboard 0.21 knows no other.
        system_attrs={"constraints": list(constraints.values())} if constraints else None,
    )
    made.number = trial.number
    if attempt is not None and state is not OptunaState.WAITING:
        made.datetime_start = _local(attempt.started)
        if state.is_finished():
            made.datetime_complete = _local(attempt.ended or attempt.started)
    return made


def _told(trial: Trial) -> dict[str, Any]:
    """What Optuna has no place for."""
    told = {name: getattr(trial.measurement, name, None) for name in _TOLD}
    if trial.expected is not None:
        told["expected_drop"] = trial.expected
    told |= {"state": str(trial.state), "reason": trial.reason or None}
    told |= {"samples_read": trial.read, "samples_asked": trial.samples}
    told |= {"ranker": trial.schedule.ranker.words, "keep": list(trial.schedule.keep)}
    return {name: value for name, value in told.items() if value is not None}


def _local(time: datetime) -> datetime:
    """The time as Optuna keeps it, local and without its zone."""
    return time.astimezone().replace(tzinfo=None)


def _distributions(sampler: StudySampler, trials: Sequence[Trial]) -> dict[str, BaseDistribution]:
    """What each parameter is taken from: as the sampler says, else as its values show."""
    space = sampler.space.parameters if isinstance(sampler, (Auto, Budgeted)) else ()
    known = {parameter.name: parameter for parameter in space}
    values: dict[str, set[ParamValue]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return {name: _distribution(known.get(name), found) for name, found in values.items()}


def _distribution(parameter: Parameter | None, values: set[ParamValue]) -> BaseDistribution:
    if parameter is None:
        return _observed(values)
    try:
        for value in values:
            parameter.check(value)
    except InputError:  # the space was another one when these were asked
        return _observed(values)
    return distribution_of(parameter)


def _observed(values: set[ParamValue]) -> BaseDistribution:
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(values, key=str))
    low, high = min(numbers), max(numbers)
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high)


def _attributes(view: StudyView) -> dict[str, Any]:
    """What people are told of the study."""
    spec = view.spec
    told = {
        "model": spec.model,
        "revision": spec.revision,
        "calibration": spec.calibration,
        "metric": spec.metric,
        "ranker": view.ranker.words,
        "seed": spec.seed,
        "spec_digest": spec.digest(),
        **{name: spec.search.get(name) for name in _SEARCH},
    }
    return {name: value for name, value in told.items() if value is not None}
