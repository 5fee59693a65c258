import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from schedsearch.core.flops import SampleTokens
from schedsearch.errors import InputError
from schedsearch.samplers.optuna_sampler import OptunaSampler
from tests.unit.samplers_bo.budgeted import (
    best_loss,
    complete,
    failed,
    make,
    needs,
    opened,
    pruned,
    search,
)

DISTRIBUTIONS = {
    "steepness": FloatDistribution(1.0, 200.0, log=True),
    "midpoint": FloatDistribution(0.0, 1.0),
    "floor": FloatDistribution(0.0, 1.0),
}
FINE = (SampleTokens(2000, 10),)  # no two points are the same evaluation
ENDS = [
    lambda trial: complete(trial, needs(trial.schedule)),
    lambda trial: complete(trial, needs(trial.schedule)),
    pruned,
    failed,
]


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def history_of(sampler: OptunaSampler, n: int) -> tuple:
    """A history with complete, pruned, failed and, at its end, open trials."""
    history: tuple = ()
    while len(history) < n:
        for question in sampler.ask(history):
            trial = opened(len(history), question)
            number = len(history)
            history += (
                trial if number >= n - sampler.concurrent_trials + 1 else ENDS[number % 4](trial),
            )
    return history[:n]


@pytest.mark.parametrize(
    ("method", "make_own"),
    [("tpe", optuna.samplers.TPESampler), ("gp", optuna.samplers.GPSampler)],
)
def test_asks_what_optuna_asks_on_the_same_study(method, make_own):
    sampler = make(OptunaSampler, method=method, trials=100, concurrent_trials=3)
    history = history_of(sampler, 26)

    (question,) = sampler.ask(history)

    study = optuna.create_study(sampler=make_own(seed=sampler.question_seed(26)))
    for trial in history:
        state = TrialState[trial.state.value]
        value = trial.measurement.drop if trial.measurement else None
        if state is not TrialState.FAIL:
            study.add_trial(
                create_trial(
                    state=state,
                    value=value,
                    params=dict(trial.params),
                    distributions=DISTRIBUTIONS,
                )
            )
    assert [trial.state for trial in study.trials[-2:]] == [TrialState.RUNNING] * 2
    assert study.ask(DISTRIBUTIONS).params == question.params


def test_sobol_points_of_optuna_come_one_after_the_other():
    sampler = make(OptunaSampler, method="qmc", trials=20, tokens=FINE)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        own = optuna.samplers.QMCSampler(scramble=True, seed=sampler.study_seed)
    study = optuna.create_study(sampler=own)

    asked = [trial.params for trial in search(sampler)]

    expected = []
    for _ in range(20):
        trial = study.ask(DISTRIBUTIONS)
        expected.append(trial.params)
        study.tell(trial, 0.0)
    assert asked == expected


def test_covariance_matrix_adapts_as_in_optuna():
    sampler = make(OptunaSampler, method="cmaes", trials=24, tokens=FINE)
    study = optuna.create_study(sampler=optuna.samplers.CmaEsSampler(seed=sampler.study_seed))

    history = search(sampler)

    for trial in history:
        own = study.ask(DISTRIBUTIONS)
        assert own.params == trial.params
        study.tell(own, trial.measurement.drop)


def passed_over(sampler: OptunaSampler, study: optuna.Study, trials: int) -> tuple[list, int]:
    """What Optuna asks without a break where known evaluations stay open, and how many did."""
    taken, asked, left = [], [], 0
    for _ in range(trials):
        for _ in range(8):
            trial = study.ask(DISTRIBUTIONS)
            try:
                schedule = sampler._schedule(trial.params)
            except InputError:
                left += 1
                continue
            if not any(schedule.same_evaluation(other, (16, 24)) for other in taken):
                break
            left += 1
        else:
            raise AssertionError("chosen such that 8 tries suffice")
        taken.append(schedule)
        asked.append(trial.params)
        study.tell(trial, needs(schedule))
    return asked, left


@pytest.mark.parametrize(
    ("method", "make_own"),
    [
        ("qmc", lambda seed: optuna.samplers.QMCSampler(scramble=True, seed=seed)),
        ("cmaes", lambda seed: optuna.samplers.CmaEsSampler(seed=seed)),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_was_passed_over_is_not_named_again(method, make_own):
    sampler = make(OptunaSampler, method=method, trials=40, seed=5)
    study = optuna.create_study(sampler=make_own(sampler.study_seed))

    asked = [dict(trial.params) for trial in search(sampler)]

    expected, left = passed_over(sampler, study, 40)
    assert asked == expected
    assert left >= 4  # else nothing was tested


@pytest.mark.parametrize("questions", [1, 3])
@pytest.mark.parametrize("method", ["qmc", "cmaes"])
@pytest.mark.parametrize("family", ["sigmoid", "staircase", "step"])
def test_a_search_that_goes_on_asks_what_it_would_have_asked(method, family, questions):
    starts = ({"steepness": 20.0, "midpoint": 0.5, "floor": 0.0},) if family == "sigmoid" else ()
    settings = {"method": method, "trials": 12, "concurrent_trials": questions, "starts": starts}
    history = search(make(OptunaSampler, family, **settings))

    for number in range(len(history) // questions):
        past = history[: number * questions]
        asked = make(OptunaSampler, family, **settings).ask(past)
        later = history[len(past) : len(past) + questions]
        assert [dict(one.params) for one in asked] == [dict(trial.params) for trial in later]


def test_whole_numbers_stay_whole():
    sampler = make(OptunaSampler, "staircase")
    distributions = sampler._replay(sampler._known([], 0)).distributions
    assert distributions == {"layer": IntDistribution(2, 7), "steps": IntDistribution(2, 8)}
    for trial in search(make(OptunaSampler, "staircase", trials=8)):
        assert all(isinstance(value, int) for value in trial.params.values())


def test_lost_trials_never_reach_optuna():
    sampler = make(OptunaSampler, trials=100)
    history = history_of(sampler, 16)
    known = sampler._known(history, 16)
    states = [trial.state for trial in sampler._replay(known).study().trials]
    assert states.count(TrialState.COMPLETE) == 8
    assert states.count(TrialState.PRUNED) == 4
    assert len(states) == 12


def test_logging_of_optuna_is_left_as_it_was():
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    search(make(OptunaSampler, trials=3))
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG


def test_tree_of_parzen_estimators_learns():
    losses = []
    for seed in range(5):
        sampler = make(OptunaSampler, seed=seed, trials=40)
        history = search(sampler)
        losses.append((best_loss(sampler, history), best_loss(sampler, history[:10])))
    late, early = map(sorted, zip(*losses, strict=True))
    assert late[2] < early[2] / 2


def test_unknown_methods_are_refused():
    with pytest.raises(InputError, match="cmaes, gp, qmc, random, tpe"):
        make(OptunaSampler, method="grid")
