"""What each family is. What all of them must do: tests/contract/test_families_of_schedules.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import Budget, feasible_range
from schedsearch.core.families import make_family
from schedsearch.core.families.layerwise import Layerwise, random_monotone
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.sigmoid import Logistic, Sigmoid
from schedsearch.core.families.staircase import Staircase
from schedsearch.core.families.step import Step
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.families.withdraw import Withdraw
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.plugin import PlugIn
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError
from tests.unit.core.strategies import points

SHAPE = DecoderShape(8, 64, 4, 2, 16, 128, 100)
TOKENS = [SampleTokens(64, 12), SampleTokens(100, 9)]

firsts = st.integers(0, 2)


@pytest.mark.parametrize(
    "make", [Sigmoid, Logistic, Uniform, Linear, Layerwise], ids=lambda make: make.name
)
@given(st.data(), st.floats(0, 1))
def test_every_point_reaches_the_whole_feasible_range(make, data, share):
    family = make()
    params = data.draw(points(family, SHAPE.layers))
    del params[family.solved(SHAPE.layers).name]
    budget = Budget("feasible", share)
    cost = flops_ratio(SHAPE, family.schedule(params, budget, SHAPE, TOKENS), TOKENS)
    assert 0 <= budget.limit(SHAPE, TOKENS) - cost < 0.02


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("fastv", {}, "`family` must be one of sigmoid, .*, but got 'fastv'"),
        ("sigmoid", {"firts": 2}, "the parameters of family 'sigmoid' do not fit: .*firts.*"),
        ("sigmoid", {"first": "two"}, "`first` must be a layer, but got 'two'"),
        ("sigmoid", {"first": 2.5}, "`first` must be a layer, but got 2.5"),
    ],
)
def test_unknown_family_or_parameter_is_refused(name, params, message):
    with pytest.raises(InputError, match=message):
        make_family(PlugIn.from_mapping(name, params))


def test_uniform_keeps_one_share_from_first_on():
    assert Uniform(first=1).at({"keep": 0.3}, 4) == Schedule((1.0, 0.3, 0.3, 0.3))


def test_step_is_fastv():
    assert Step().at({"layer": 3, "keep": 0.5}, 5) == Schedule((1.0, 1.0, 1.0, 0.5, 0.5))


def test_linear_falls_by_fall_around_level():
    keep = Linear().at({"fall": 0.8, "level": 0.5}, 5).keep
    assert keep == pytest.approx((1.0, 1.0, 0.9, 0.5, 0.1))


def test_linear_is_clipped():
    assert Linear().at({"fall": 2.0, "level": 0.5}, 5) == Schedule((1.0, 1.0, 1.0, 0.5, 0.0))


def test_linear_over_a_single_layer_is_its_level():
    assert Linear().at({"fall": 0.8, "level": 0.5}, 3) == Schedule((1.0, 1.0, 0.5))


def test_layerwise_takes_the_running_minimum():
    params = {"keep_2": 0.5, "keep_3": 0.75, "keep_4": 0.25, "scale": 1.0}
    assert Layerwise().at(params, 5) == Schedule((1.0, 1.0, 0.5, 0.5, 0.25))


@pytest.mark.parametrize(
    ("scale", "keep"),
    [(0.0, (0.0, 0.0)), (0.5, (0.25, 0.125)), (1.5, (0.75, 0.625)), (2.0, (1.0, 1.0))],
)
def test_layerwise_scale_multiplies_what_is_kept_then_what_is_dropped(scale, keep):
    params = {"keep_1": 0.5, "keep_2": 0.25, "scale": scale}
    assert Layerwise(first=1).at(params, 3).keep[1:] == keep


def test_sigmoid_falls_from_amplitude_to_its_floor():
    params = {"steepness": 200.0, "midpoint": 0.5, "floor": 0.25, "amplitude": 0.8}
    keep = Sigmoid(first=1).at(params, 6).keep
    assert keep == pytest.approx((1.0, 0.8, 0.8, 0.5, 0.2, 0.2))


def test_sigmoid_is_cut_off_at_one():
    params = {"steepness": 200.0, "midpoint": 0.5, "floor": 0.25, "amplitude": 2.0}
    assert Sigmoid(first=1).at(params, 6).keep == pytest.approx((1.0, 1.0, 1.0, 1.0, 0.5, 0.5))


def test_softest_sigmoid_is_nearly_a_line():
    params = {"steepness": 1.0, "midpoint": 0.5, "floor": 0.0, "amplitude": 1.0}
    keep = Sigmoid(first=0).at(params, 21).keep
    line = [keep[0] + i / 20 * (keep[-1] - keep[0]) for i in range(21)]
    assert keep == pytest.approx(line, abs=0.003)


def test_logistic_is_the_sigmoid_without_floor():
    params = {"steepness": 7.0, "midpoint": 0.3, "amplitude": 0.7}
    assert Logistic().at(params, 12) == Sigmoid().at({**params, "floor": 0.0}, 12)
    assert [each.name for each in Logistic().space(12).parameters] == ["steepness", "midpoint"]


def test_staircase_is_pyramiddrop():
    keep = Staircase().at({"layer": 8, "steps": 3, "ratio": 0.5}, 32).keep
    assert keep == (1.0,) * 8 + (0.5,) * 8 + (0.25,) * 8 + (0.125,) * 8


def test_withdraw_is_vtw():
    assert Withdraw().at({"layer": 3}, 5) == Schedule((1.0, 1.0, 1.0, 0.0, 0.0))
    assert Withdraw().at({"layer": 5}, 5) == Schedule.full(5)


def test_withdraw_leaves_at_the_last_layer_that_the_budget_allows():
    budgets = [flops_ratio(SHAPE, Withdraw().at({"layer": k}, 8), TOKENS) for k in range(2, 9)]
    for layer, budget in enumerate(budgets, start=2):
        at = Withdraw().schedule({}, Budget("flops", budget), SHAPE, TOKENS)
        assert at == Withdraw().at({"layer": layer}, 8)
        if layer > 2:
            below = Withdraw().schedule({}, Budget("flops", budget - 1e-9), SHAPE, TOKENS)
            assert below == Withdraw().at({"layer": layer - 1}, 8)


def test_layerwise_reads_any_curve():
    keep = (1.0, 1.0, 0.7, 0.7, 0.2)
    assert Layerwise().at({**Layerwise().read(keep), "scale": 1.0}, 5).keep == keep


@given(st.integers(0, 2**64), firsts, st.integers(3, 40))
def test_random_monotone_is_a_point_of_the_layerwise_space(seed, first, layers):
    family = Layerwise(first=first)
    params = random_monotone(family, layers, seed)
    assert family.space(layers).check(params) == params
    assert family.at({**params, "scale": 1.0}, layers).keep[first:] == tuple(params.values())
    assert params == random_monotone(family, layers, seed)


def test_random_monotone_covers_steps_and_gradual_falls():
    drawn = [random_monotone(Layerwise(), 32, seed) for seed in range(300)]
    levels = [len(set(params.values()) - {1.0}) for params in drawn]
    # Each of 30 numbers has probability 1/30: one is missing from 300 draws with p = 4e-5 each.
    assert len(set(levels)) >= 29
    assert len({tuple(params.values()) for params in drawn}) == 300
    assert any(params["keep_2"] < 1 for params in drawn)
    assert any(params["keep_31"] < params["keep_30"] for params in drawn)


def test_random_monotone_meets_the_budget():
    budget = Budget("feasible", 0.4)
    for seed in range(20):
        params = random_monotone(Layerwise(), SHAPE.layers, seed)
        schedule = Layerwise().schedule(params, budget, SHAPE, TOKENS)
        assert 0 <= budget.limit(SHAPE, TOKENS) - flops_ratio(SHAPE, schedule, TOKENS) < 0.02


def test_feasible_range_is_that_of_the_uniform_family():
    least, most = feasible_range(SHAPE, TOKENS)
    ends = [Uniform().at({"keep": keep}, SHAPE.layers) for keep in (0.0, 1.0)]
    assert [flops_ratio(SHAPE, end, TOKENS) for end in ends] == [least, most]
