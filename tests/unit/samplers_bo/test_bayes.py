import math
import random
import statistics
from dataclasses import replace

import pytest
import torch

from schedsearch.core.flops import SampleTokens
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import TrialState
from schedsearch.samplers.bayes import Bayes, contrasted
from schedsearch.samplers.random_search import RandomSearch
from schedsearch.samplers.surrogate import fitted, in_cube, most_promising, point_at, reproducible
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


def test_start_is_spread_out_and_the_model_follows():
    sampler = make(Bayes, trials=64, tokens=(SampleTokens(2000, 10),))
    start = [trial.params["midpoint"] for trial in search(replace(sampler, trials=8))]
    assert sorted(int(8 * value) for value in start) == list(range(8))
    history = search(replace(sampler, trials=9))
    assert sampler.status(history[:7]).phase == "sobol"
    assert sampler.status(history[:8]).phase == "model"


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
    sampler, history = modelled(questions=2)
    (first,) = asked(replace(sampler, questions=1), history)
    waiting = replace(history[-1], state=TrialState.WAITING, measurement=None)
    near = {**first, "midpoint": min(1.0, first["midpoint"] + 1e-6)}
    busy = replace(waiting, params=near)
    elsewhere = replace(waiting, params={"steepness": 1.0, "midpoint": 0.0})
    (beside,) = asked(sampler, [*history[:-1], busy])
    (free,) = asked(sampler, [*history[:-1], elsewhere])
    cube = in_cube(sampler.space, [near, beside, free])
    assert (cube[0] - cube[1]).norm() > 0.02
    assert beside != free


def test_failed_trials_do_not_reach_the_model_and_pruned_ones_do():
    sampler, history = modelled()
    worst = max(range(8), key=lambda i: history[i].measurement.drop)
    ends = [end(opened_at(8, history[worst])) for end in (failed, pruned)]
    failing, pruning = (sampler._learnt(sampler._known([*history, end], 9)) for end in ends)
    assert failing == sampler._learnt(sampler._known(history, 8))
    assert len(pruning) == 9
    drops = sorted(trial.measurement.drop for trial in history)
    assert pruning[-1][1] == drops[3]


def opened_at(number, trial):
    return replace(trial, number=number, state=TrialState.RUNNING, measurement=None)


def test_nothing_is_stopped_before_there_is_a_model():
    sampler, history = modelled()
    trial = opened_at(8, history[0])
    assert not sampler.hopeless(history[:5], replace(trial, number=5), 9.0)
    assert sampler.hopeless(history, trial, 9.0)
    assert not sampler.hopeless(history, trial, -9.0)


@pytest.mark.parametrize("error", [0.0, None, 10.0])
def test_equal_drops_and_any_error_are_no_obstacle(error):
    sampler, history = modelled()
    flat = [complete(trial, 0.25, error) for trial in history]
    assert len(sampler.ask(flat)) == 1


def test_values_keep_the_order_and_set_the_best_apart():
    drops = [5.0, 0.1, 0.2, 0.0, 0.3]
    values = contrasted(drops)
    assert sorted(range(5), key=values.__getitem__) == [0, 4, 2, 1, 3]
    assert values[3] - values[1] == pytest.approx(math.log(0.16 / 0.06))
    assert values[4] - values[0] == pytest.approx(math.log(5.06 / 0.36))
    assert contrasted([100 * drop - 7 for drop in drops]) == pytest.approx(
        [value - math.log(100) for value in values]
    )


def test_values_are_finite_where_most_drops_are_equal():
    assert contrasted([0.25]) == contrasted([0.25, 0.25])[:1] == [0.0]
    assert contrasted([0.0, 0.0, 0.5]) == pytest.approx([-math.log(0.5)] * 2 + [-math.log(1.0)])


def test_a_reported_error_changes_nothing_that_is_asked():
    sampler, history = modelled()
    vague = [complete(trial, trial.measurement.drop, 10.0) for trial in history]
    assert asked(sampler, vague) == asked(sampler, history)


def test_noise_is_what_was_measured():
    inputs = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
    with reproducible(0):
        exact = fitted(inputs, [0.0, 1.0, 0.0], [0.0, 0.0, 0.0])
        vague = fitted(inputs, [0.0, 1.0, 0.0], [0.0, 2.0, 0.0])
        means = [model.posterior(inputs).mean[1].item() for model in (exact, vague)]
    assert means[0] == pytest.approx(1.0, abs=0.05)
    assert means[1] < 0.5


class Peak(torch.nn.Module):
    """Falls with the squared distance from a place, shape (..., 1, d)."""

    def __init__(self, place):
        super().__init__()
        self.place = torch.tensor(place, dtype=torch.float64)

    def forward(self, inputs):
        return -((inputs[..., 0, :] - self.place) ** 2).sum(-1)


def test_most_promising_point_is_found_between_the_samples():
    peak = Peak([0.431, 0.9, 0.123])
    with reproducible(3):
        points = most_promising(SPACE, peak, torch.full((1, 3), 0.5, dtype=torch.float64), seed=3)
    cube = in_cube(SPACE, points)
    assert cube[0].tolist() == pytest.approx([0.431, 5.5 / 6, 0.123], abs=0.01)
    values = peak(cube[:, None])
    assert values.tolist() == sorted(values.tolist(), reverse=True)


def test_spaces_of_few_whole_numbers_are_compared_as_a_whole():
    space = Space((Parameter("layer", 2, 7, integer=True), Parameter("steps", 1, 4, integer=True)))
    points = most_promising(space, Peak([0.0, 1.0]), torch.zeros(1, 2, dtype=torch.float64), seed=0)
    assert len(points) == 24
    assert points[0] == {"layer": 2, "steps": 4}
    assert points[-1] == {"layer": 7, "steps": 1}


def test_cube_and_space_are_inverse():
    rng = random.Random(0)
    for _ in range(50):
        point = {each.name: each.at(rng.random()) for each in SPACE.parameters}
        (row,) = in_cube(SPACE, [point]).tolist()
        assert all(0 <= share <= 1 for share in row)
        assert point_at(SPACE, row) == pytest.approx(point)
    ends = [{p.name: p.low for p in SPACE.parameters}, {p.name: p.high for p in SPACE.parameters}]
    assert in_cube(SPACE, ends).tolist() == [[0.0, 0.5 / 6, 0.0], [1.0, 5.5 / 6, 1.0]]


def test_finds_better_schedules_than_chance():
    losses = {Bayes: [], RandomSearch: []}
    for sampler_class, found in losses.items():
        for seed in range(3):
            sampler = make(sampler_class, "logistic", seed=seed, trials=14)
            found.append(best_loss(sampler, search(sampler)))
    assert statistics.median(losses[Bayes]) < statistics.median(losses[RandomSearch])


def test_search_that_stops_hopeless_trials_ends_with_its_best_measured_in_full():
    sampler = make(Bayes, "logistic", trials=14)
    history = search(sampler, prunes=True)
    assert any(trial.state is TrialState.PRUNED for trial in history)
    assert best_loss(sampler, history) == min(needs(trial.schedule) for trial in history)
