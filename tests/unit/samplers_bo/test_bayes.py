import math
import random
import statistics
from dataclasses import replace

import pytest
import torch
from botorch.optim.utils import sample_all_priors

from schedsearch.core.budget import Budget
from schedsearch.core.flops import SampleTokens
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import TrialState
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.known import enumerated
from schedsearch.samplers.least_drop import contrasted
from schedsearch.samplers.random_search import RandomSearch
from schedsearch.samplers.surrogate import (
    curves,
    fitted,
    in_cube,
    most_promising,
    point_at,
    reproducible,
)
from tests.pace import some
from tests.unit.samplers_bo.budgeted import (
    best_loss,
    complete,
    failed,
    make,
    needs,
    pruned,
    search,
)

SPACE = Space(
    (
        Parameter("rate", 0.01, 10.0, log=True),
        Parameter("layer", 2, 7, integer=True),
        Parameter("share", -1.0, 1.0),
    )
)


def modelled(n: int = 8, **settings):
    """A sampler with a model, and complete trials of random points."""
    sampler = make(Bayes, "logistic", trials=100, **settings)
    baseline = make(RandomSearch, "logistic", trials=n)
    return sampler, search(baseline)


def asked(sampler, history):
    return [question.params for question in sampler.ask(history)]


def observed(sampler, history, number):
    """What the model learns for the question with this number."""
    return sampler._objective(sampler._known(history, number)).observed()


def test_start_is_the_middle_and_spread_out_and_the_model_follows():
    sampler = make(Bayes, trials=64, tokens=(SampleTokens(2000, 10),))
    start = [trial.params["midpoint"] for trial in search(replace(sampler, trials=4))]
    assert start[0] == 0.5
    assert len({int(4 * value) for value in start[1:]}) == 3
    history = search(replace(sampler, trials=5))
    assert sampler.status(history[:3]).phase == "sobol"
    assert sampler.status(history[:4]).phase == "model"


def test_state_of_torch_is_left_as_it_was_and_means_nothing():
    sampler, history = modelled()
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = asked(sampler, history)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(2)
    random.seed(2)
    assert asked(sampler, history) == first


def test_open_trials_are_taken_into_account():
    sampler, history = modelled(concurrent_trials=2)
    (first,) = asked(replace(sampler, concurrent_trials=1), history)
    waiting = replace(history[-1], state=TrialState.WAITING, measurement=None)
    near = {**first, "midpoint": min(1.0, first["midpoint"] + 1e-6)}
    far = {"steepness": 1.0, "midpoint": 0.0}
    busy, elsewhere = (
        replace(waiting, params=point, schedule=sampler._schedule(point)) for point in (near, far)
    )
    (beside,) = asked(sampler, [*history[:-1], busy])
    (free,) = asked(sampler, [*history[:-1], elsewhere])
    cube = in_cube(sampler.space, [near, beside, free])
    assert (cube[0] - cube[1]).norm() > 0.02
    assert beside != free


def test_failed_trials_do_not_reach_the_model_and_pruned_ones_do():
    sampler, history = modelled()
    order = sorted(history, key=lambda trial: trial.measurement.drop)
    best, worst = order[0].measurement.drop, order[-1].measurement.drop
    failing = observed(sampler, [*history, failed(opened_at(8, order[-1]))], 9)
    assert failing == observed(sampler, history, 8)
    bad, good = (
        observed(sampler, [*history, pruned(opened_at(8, trial))], 9)[-1]
        for trial in (order[-1], order[0])
    )
    assert bad.place == (order[-1].params, order[-1].schedule)
    assert bad.drop == pytest.approx(worst, rel=0.1)
    s = 0.3 * (statistics.median(trial.measurement.drop for trial in history) - best)
    assert good.drop == pytest.approx(best + 0.3 * s)
    assert good.error == bad.error == 1e-3


def test_pruned_trials_are_worse_than_the_best_one_of_their_time():
    sampler, history = modelled()
    order = sorted(history, key=lambda trial: -trial.measurement.drop)
    falling = [replace(trial, number=number) for number, trial in enumerate(order)]
    early = pruned(opened_at(4, order[-1]))
    known = [*falling[:4], early, *(opened_later(one) for one in falling[4:])]
    assert observed(sampler, known, 9)[-1].drop > falling[3].measurement.drop


def opened_later(trial):
    return replace(trial, number=trial.number + 1)


def opened_at(number, trial):
    return replace(trial, number=number, state=TrialState.RUNNING, measurement=None)


def test_nothing_is_stopped_before_there_is_a_model():
    sampler, history = modelled()
    trial = opened_at(8, history[0])
    assert not sampler.hopeless(history[:3], replace(trial, number=3), 9.0)
    assert sampler.hopeless(history, trial, 9.0)
    assert not sampler.hopeless(history, trial, -9.0)


@pytest.mark.parametrize("error", [0.0, None, 10.0])
def test_equal_drops_and_any_error_are_no_obstacle(error):
    sampler, history = modelled()
    flat = [complete(trial, 0.25, error) for trial in history]
    assert len(sampler.ask(flat)) == 1


def test_values_keep_the_order_and_set_the_best_apart():
    drops = [5.0, 0.1, 0.2, 0.0, 0.3]
    values, _ = contrasted([(drop, 0.0) for drop in drops])
    assert sorted(range(5), key=values.__getitem__) == [0, 4, 2, 1, 3]
    assert values[3] - values[1] == pytest.approx(math.log(0.16 / 0.06))
    assert values[4] - values[0] == pytest.approx(math.log(5.06 / 0.36))
    moved, _ = contrasted([(100 * drop - 7, 0.0) for drop in drops])
    assert moved == pytest.approx([value - math.log(100) for value in values])


def test_errors_change_with_the_values():
    drops = [5.0, 0.1, 0.2, 0.0, 0.3]
    values, errors = contrasted([(drop, 1e-6 * (1 + drop)) for drop in drops])
    for i in (0, 1, 4):  # to move the least or the median would move the scale
        step = 1e-6 * (1 + drops[i])
        beside, _ = contrasted([(drop + step * (j == i), 0.0) for j, drop in enumerate(drops)])
        assert values[i] - beside[i] == pytest.approx(errors[i], rel=1e-4)


def test_values_are_finite_where_most_drops_are_equal():
    assert contrasted([(0.25, 0.1)])[0] == contrasted([(0.25, 0.1)] * 2)[0][:1] == [0.0]
    values, errors = contrasted([(0.0, 0.0), (0.0, 0.0), (0.5, 0.1)])
    assert values == pytest.approx([-math.log(0.5)] * 2 + [-math.log(1.0)])
    assert errors == pytest.approx([0.0, 0.0, 0.1])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_drops_that_differ_by_rounding_are_equal(scale):
    measured = [(scale * 0.3, scale * 0.1)] * 4 + [(scale * (0.1 + 0.2), scale * 0.1)] * 3
    values, _ = contrasted(measured)
    assert max(values) - min(values) < 1e-6


def line(n, wave=0.0):
    """Inputs, and values that rise along them and go up and down from one to the next."""
    inputs = torch.linspace(0, 1, n, dtype=torch.float64)[:, None]
    return inputs, [i / n + wave * (-1) ** i for i in range(n)]


def share(inputs, values, error):
    with reproducible(0):
        return fitted(inputs, values, [error] * len(values)).likelihood.noise_share.item()


def test_noise_is_as_much_of_the_errors_as_the_values_show():
    calm, rough = line(24), line(24, 0.1)
    assert share(*calm, 0.1) < 0.01
    assert 0.3 < share(*rough, 0.1) < 4.0
    assert share(*rough, 0.4) == pytest.approx(share(*rough, 0.1) / 16, rel=0.2)


def test_fit_can_begin_anew_from_the_priors():
    """What BoTorch does where the first fit fails."""
    with reproducible(0):
        model = fitted(*line(12), [0.1] * 12)
        share, length = model.likelihood.noise_share.item(), model.covar_module.lengthscale.item()
        sample_all_priors(model)
        assert model.likelihood.noise_share.item() != share
        assert model.covar_module.lengthscale.item() != length
        model.likelihood._set(torch.tensor([9.0]))
    assert model.likelihood.noise_share.item() == 4.0


def test_values_without_errors_are_reached():
    inputs, values = line(12, 0.1)
    with reproducible(0):
        exact, vague = (fitted(inputs, values, [error] * 12) for error in (0.0, 0.1))
        apart = [
            (model.posterior(inputs).mean[:, 0] - torch.tensor(values)).abs().max().item()
            for model in (exact, vague)
        ]
    assert apart[0] < 0.01
    assert apart[1] > 0.05


def peak(space, place):
    """What points promise that fall with the squared distance from a place in the unit cube."""
    return lambda points: -((in_cube(space, points) - torch.tensor(place)) ** 2).sum(-1)


def test_most_promising_point_is_found_between_the_samples():
    promise = peak(SPACE, [0.431, 0.9, 0.123])
    with reproducible(3):
        points = most_promising(SPACE, promise, [point_at(SPACE, [0.5] * 3)], seed=3)
    cube = in_cube(SPACE, points)
    assert cube[0].tolist() == pytest.approx([0.431, 5.5 / 6, 0.123], abs=0.03)
    values = promise(points).tolist()
    assert values == sorted(values, reverse=True)


def test_points_near_the_best_are_looked_at():
    at, sought = [0.2, 0.5 / 6, 0.7], [0.22, 0.5 / 6, 0.69]
    nearest = {}
    for centres in ([], [point_at(SPACE, at)]):
        with reproducible(0):
            points = most_promising(SPACE, lambda points: torch.zeros(len(points)), centres, seed=0)
        apart = (in_cube(SPACE, points) - torch.tensor(sought)).norm(dim=-1)
        nearest[len(centres)] = (apart < 0.04).sum().item()
    assert nearest[1] > nearest[0] + 5


def test_points_that_cannot_be_asked_are_left_out():
    def promise(points):
        layers = torch.tensor([float(point["layer"]) for point in points])
        return torch.where(layers > 4, -math.inf, layers)

    with reproducible(0):
        points = most_promising(SPACE, promise, [], seed=0)
    assert {point["layer"] for point in points} == {2, 3, 4}


def test_spaces_of_few_whole_numbers_are_compared_as_a_whole():
    space = Space((Parameter("layer", 2, 7, integer=True), Parameter("steps", 1, 4, integer=True)))
    points = most_promising(space, peak(space, [0.0, 1.0]), [], seed=0)
    assert len(points) == 24
    assert points[0] == {"layer": 2, "steps": 4}
    assert points[-1] == {"layer": 7, "steps": 1}


def test_model_knows_schedules_not_parameters():
    """With floor 1 the curve is flat, whatever the steepness."""
    sampler = make(Bayes, budget=Budget("feasible", 0.9))
    flat = [{"steepness": steepness, "midpoint": 0.3, "floor": 1.0} for steepness in (2.0, 150.0)]
    points = [*flat, {"steepness": 150.0, "midpoint": 0.3, "floor": 0.0}]
    rows = curves([sampler._schedule(point) for point in points], sampler.first)
    assert rows[0].tolist() == rows[1].tolist()
    apart = [a - b for a, b in zip(*(sampler._schedule(p).keep for p in points[1:]), strict=True)]
    rms = math.sqrt(statistics.fmean(each**2 for each in apart[2:]))
    assert (rows[1] - rows[2]).norm().item() == pytest.approx(rms)


MIXED = (SampleTokens(40, 60),) * 6 + (SampleTokens(576, 40),) * 5 + (SampleTokens(0, 80),) * 2


@pytest.mark.parametrize("measure", ["flops", "feasible", "kv", "mean_keep"])
@pytest.mark.parametrize("family", ["sigmoid", "staircase"])
def test_candidates_are_about_what_is_asked(family, measure):
    sampler = make(Bayes, family, budget=Budget(measure, 0.6), tokens=MIXED, trials=100)
    known = sampler._known(search(make(RandomSearch, family, trials=4)), 4)
    candidates = list(sampler._candidates(known))
    assert len(candidates) >= 15
    for point in candidates[::20]:
        pairs = zip(sampler._rough_schedule(point).keep, sampler._schedule(point).keep, strict=True)
        assert max(abs(about - exact) for about, exact in pairs) < 0.03


def test_points_out_of_reach_are_no_candidates():
    tight = {"family": "staircase", "budget": Budget("feasible", 0.1), "tokens": MIXED}
    sampler = make(Bayes, **tight, trials=100)
    known = sampler._known(search(make(RandomSearch, **tight, trials=4)), 4)
    candidates = list(sampler._candidates(known))
    assert 0 < len(candidates) < len(enumerated(sampler.space))
    for point in candidates:
        sampler._schedule(point)


def test_answers_of_other_samples_are_learnt_too():
    """Of a history that was solved for another calibration set, in part beyond the budget."""
    history = search(make(RandomSearch, "staircase", trials=8, budget=Budget("feasible", 0.9)))
    sampler = make(Bayes, "staircase", trials=100, budget=Budget("feasible", 0.1), tokens=MIXED)
    assert len(sampler.ask(history)) == 1


def test_cube_and_space_are_inverse():
    rng = random.Random(0)
    for _ in range(50):
        point = {each.name: each.at(rng.random()) for each in SPACE.parameters}
        (row,) = in_cube(SPACE, [point]).tolist()
        assert all(0 <= share <= 1 for share in row)
        assert point_at(SPACE, row) == pytest.approx(point)
    ends = [{p.name: p.low for p in SPACE.parameters}, {p.name: p.high for p in SPACE.parameters}]
    assert in_cube(SPACE, ends).tolist() == [[0.0, 0.5 / 6, 0.0], [1.0, 5.5 / 6, 1.0]]


CHANCE = [("logistic", 14, 1.0), ("layerwise", 20, 0.5)]


@pytest.mark.parametrize(("family", "trials", "least"), some(CHANCE, CHANCE[:1]))
def test_finds_better_schedules_than_chance(family, trials, least):
    losses = {Bayes: [], RandomSearch: []}
    for sampler_class, found in losses.items():
        for seed in range(3):
            sampler = make(sampler_class, family, seed=seed, trials=trials)
            found.append(best_loss(sampler, search(sampler)))
    assert statistics.median(losses[Bayes]) < least * statistics.median(losses[RandomSearch])


def test_search_that_stops_hopeless_trials_ends_with_its_best_measured_in_full():
    sampler = make(Bayes, "logistic", trials=14)
    history = search(sampler, prunes=True)
    assert any(trial.state is TrialState.PRUNED for trial in history)
    assert best_loss(sampler, history) == min(needs(trial.schedule) for trial in history)
