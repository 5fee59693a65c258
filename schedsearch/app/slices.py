"""What parameters of a family matter, and what the model of a search expects between its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full
from schedsearch.core.space import Parameter
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.budgeted import Budgeted

if TYPE_CHECKING:
    from schedsearch.samplers.bayes import Bayes

_LEAST = 4
_MOST_MODELLED = 300
_STEPS = 40


@dataclass(frozen=True)
class Expected:
    """What the surrogate expects at one value of a parameter, the others as in the result.

    Attributes:
        share: Where between the bounds of the parameter the value lies.
        drop: Median of the drop.
        low: With `high` the 90 % interval of the drop, noise of measurements left out.
        high: See there.
    """

    share: float
    drop: float
    low: float
    high: float


@dataclass(frozen=True)
class Slice:
    """A parameter.

    Attributes:
        parameter: It.
        importance: Share of what parameters matter for the best quarter of the trials; None where
            too little is known.
        best: Where between the bounds the result lies.
        measured: Trial, place between the bounds and drop of each that was measured.
        expected: What the surrogate says; empty of searches without one.
    """

    parameter: Parameter
    importance: float | None
    best: float
    measured: Sequence[tuple[int, float, float]]
    expected: Sequence[Expected]


def slices(view: StudyView) -> list[Slice]:
    """Each parameter of the searched family, the most important first.

    The surrogate is fitted anew, as the search does before it asks: seconds for hundreds of trials,
    so of more than 300 measurements it is left out.

    Raises:
        InputError: The study searches no family, or has no result yet.
    """
    sampler, trials = view.sampler, view.trials
    if not isinstance(sampler, Budgeted):
        raise InputError(f"study `{view.name}` searches no parameters of a family")
    best, space = view.best_trial, sampler.space.parameters
    names = {one.name for one in space}
    known = [trial for trial in trials if full(trial) and names <= set(trial.params)]
    importance = _importances(sampler, known)
    modelled = sampler.name == "bayes" and _LEAST <= len(known) <= _MOST_MODELLED
    found = [
        Slice(
            one,
            importance.get(one.name),
            one.share(float(best.params[one.name])) if names <= set(best.params) else 0.5,
            [(each.number, one.share(float(each.params[one.name])), _drop(each)) for each in known],
            _expected(cast("Bayes", sampler), trials, best, one) if modelled else (),
        )
        for one in space
    ]
    return sorted(found, key=lambda one: -(one.importance or 0.0))


def _drop(trial: Trial) -> float:
    found = full(trial)
    assert found is not None, "not measured"
    return found[1]


def _importances(sampler: Budgeted, known: Sequence[Trial]) -> dict[str, float]:
    """By Optuna's PED-ANOVA, see arXiv 2304.10255; nothing where all trials are equal."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from schedsearch.samplers.optuna_replay import distribution_of, quiet

    space = sampler.space.parameters
    if len(known) < 4 * _LEAST or len(space) < 2:
        return {}
    distributions = {one.name: distribution_of(one) for one in space}
    with quiet():
        study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
        study.add_trials(
            optuna.trial.create_trial(
                value=_drop(trial),
                params={name: trial.params[name] for name in distributions},
                distributions=distributions,
            )
            for trial in known
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
        try:
            found = get_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}
    return {name: value for name, value in found.items() if value == value}


def _expected(
    sampler: "Bayes", trials: Sequence[Trial], best: Trial, parameter: Parameter
) -> list[Expected]:
    others = {name: float(value) for name, value in best.params.items()}
    shares = [step / _STEPS for step in range(_STEPS + 1)]
    points = [others | {parameter.name: parameter.at(share)} for share in shares]
    found = sampler.expected(trials, points)
    return [
        Expected(share, *one) for share, one in zip(shares, found, strict=True) if one is not None
    ]
