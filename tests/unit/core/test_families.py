"""What every family must do. A new family joins with one line in FAMILIES."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.families.base import Family, solve
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.step import Step
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.flops import (
    DecoderShape,
    SampleTokens,
    feasible_range,
    flops_ratio,
    prefill_flops,
    share_of_feasible,
)
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.space import Parameter
from schedsearch.errors import InputError
from tests.unit.core.strategies import decoder_shapes, token_sets

FAMILIES: list[type[Family]] = [
    Uniform,
    Step,
    Linear,
    Layerwise,
]
SHAPE = DecoderShape(8, 64, 4, 2, 16, 128, 100)
TOKENS = [SampleTokens(64, 12), SampleTokens(100, 9)]

each_family = pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.name)
firsts = st.integers(0, 2)


def values(parameter: Parameter) -> st.SearchStrategy[float]:
    if parameter.integer:
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(parameter.low, parameter.high)


def points(family: Family, layers: int) -> st.SearchStrategy[dict[str, float]]:
    parameters = family.space(layers).parameters
    return st.fixed_dictionaries({each.name: values(each) for each in parameters})


def middle(family: Family, layers: int) -> dict[str, float]:
    parameters = family.space(layers).parameters
    return {each.name: each.check((each.low + each.high) // 2) for each in parameters}


@each_family
@given(st.data(), firsts, st.integers(3, 32))
def test_every_point_of_the_space_is_a_valid_schedule(make, data, first, layers):
    family = make(first=first)
    schedule = family.schedule(data.draw(points(family, layers)), layers, RankerSpec("text"))
    assert schedule.layers == layers
    assert schedule.keep[:first] == (1.0,) * first
    assert schedule.ranker == RankerSpec("text")


@each_family
@given(st.data(), firsts, st.integers(3, 32))
def test_no_ratio_falls_when_the_solved_parameter_grows(make, data, first, layers):
    family = make(first=first)
    params = data.draw(points(family, layers))
    solved = values(family.space(layers)[family.solved])
    low, high = sorted((data.draw(solved), data.draw(solved)))
    less = family.schedule({**params, family.solved: low}, layers)
    more = family.schedule({**params, family.solved: high}, layers)
    assert all(a <= b for a, b in zip(less.keep, more.keep, strict=True))


@each_family
@given(st.data(), decoder_shapes(), token_sets, firsts, st.floats(0, 1))
def test_solved_schedule_uses_the_budget_up_to_one_token(make, data, shape, tokens, first, share):
    family = make(first=first)
    params = data.draw(points(family, shape.layers))
    bounds = family.space(shape.layers)[family.solved]
    del params[family.solved]
    least, most = (
        flops_ratio(shape, family.schedule({**params, family.solved: end}, shape.layers), tokens)
        for end in (bounds.low, bounds.high)
    )
    budget = share_of_feasible(share, (least, most))

    solved = solve(family, params, budget, shape, tokens)

    assert flops_ratio(shape, solved, tokens) <= budget
    above = full = 0
    for sample in tokens:
        everything = (sample.n_vision,) * shape.layers
        one_more = (min(count + 1, sample.n_vision) for count in solved.counts(sample.n_vision))
        above += prefill_flops(shape, tuple(one_more), sample.n_text)
        full += prefill_flops(shape, everything, sample.n_text)
    assert above / full > budget or flops_ratio(shape, solved, tokens) == most


@each_family
@given(st.data())
def test_solved_schedule_stays_in_the_family(make, data):
    family = make()
    params = middle(family, SHAPE.layers)
    bounds = family.space(SHAPE.layers)[family.solved]
    value = data.draw(st.floats(bounds.low, bounds.high))
    member = family.schedule({**params, family.solved: value}, SHAPE.layers)
    del params[family.solved]

    budget = flops_ratio(SHAPE, member, TOKENS)
    solved = solve(family, params, budget, SHAPE, TOKENS)

    for sample in TOKENS:
        pairs = zip(solved.counts(sample.n_vision), member.counts(sample.n_vision), strict=True)
        assert all(abs(a - b) <= 1 for a, b in pairs)


@each_family
def test_solving_passes_the_ranker_on(make):
    family = make()
    params = middle(family, SHAPE.layers)
    del params[family.solved]
    ranker = RankerSpec.from_mapping("random", {"seed": 1})
    assert solve(family, params, 0.9, SHAPE, TOKENS, ranker).ranker == ranker


@each_family
def test_budget_out_of_reach_names_the_range(make):
    family = make()
    params = middle(family, SHAPE.layers)
    del params[family.solved]
    with pytest.raises(InputError, match=r"`budget` must be a FLOPs ratio in \[0\.\d+, 1\.0\]"):
        solve(family, params, 0.01, SHAPE, TOKENS)


@each_family
def test_budget_and_the_solved_parameter_together_are_refused(make):
    family = make()
    with pytest.raises(InputError, match=f"`{family.solved}` of family {family.name} follows"):
        solve(family, middle(family, SHAPE.layers), 0.5, SHAPE, TOKENS)


@each_family
def test_unknown_missing_and_excessive_parameters_are_refused(make):
    family = make()
    params = middle(family, 8)
    with pytest.raises(InputError, match="`budgett` is not a parameter"):
        family.schedule({**params, "budgett": 1.0}, 8)
    with pytest.raises(InputError, match=f"`{family.solved}` must be a number in"):
        family.schedule({**params, family.solved: 99.0}, 8)
    del params[family.solved]
    with pytest.raises(InputError, match=f"`{family.solved}` is missing"):
        family.schedule(params, 8)


@each_family
def test_model_without_a_reducible_layer_is_refused(make):
    with pytest.raises(InputError, match="`first` must be one of the layers 0 to 1, but got 2"):
        make(first=2).space(2)


@each_family
def test_one_reducible_layer_is_enough(make):
    family = make(first=2)
    assert family.schedule(middle(family, 3), 3).keep[:2] == (1.0, 1.0)


@pytest.mark.parametrize("make", [Uniform, Linear, Layerwise], ids=lambda make: make.name)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_family_reaches_the_whole_feasible_range(make, share):
    family = make()
    params = middle(family, SHAPE.layers)
    del params[family.solved]
    budget = share_of_feasible(share, feasible_range(SHAPE, TOKENS))
    assert budget - flops_ratio(SHAPE, solve(family, params, budget, SHAPE, TOKENS), TOKENS) < 0.02


def test_uniform_keeps_one_share_from_first_on():
    assert Uniform(first=1).schedule({"keep": 0.3}, 4) == Schedule((1.0, 0.3, 0.3, 0.3))


def test_step_is_fastv():
    assert Step().schedule({"layer": 3, "keep": 0.5}, 5) == Schedule((1.0, 1.0, 1.0, 0.5, 0.5))


def test_linear_falls_by_fall_around_level():
    keep = Linear().schedule({"fall": 0.8, "level": 0.5}, 5).keep
    assert keep == pytest.approx((1.0, 1.0, 0.9, 0.5, 0.1))


def test_linear_is_clipped():
    assert Linear().schedule({"fall": 2.0, "level": 0.5}, 5) == Schedule((1.0, 1.0, 1.0, 0.5, 0.0))


def test_linear_over_a_single_layer_is_its_level():
    assert Linear().schedule({"fall": 0.8, "level": 0.5}, 3) == Schedule((1.0, 1.0, 0.5))


def test_layerwise_takes_the_running_minimum():
    params = {"keep_2": 0.5, "keep_3": 0.75, "keep_4": 0.25, "scale": 1.0}
    assert Layerwise().schedule(params, 5) == Schedule((1.0, 1.0, 0.5, 0.5, 0.25))


@pytest.mark.parametrize(
    ("scale", "keep"),
    [(0.0, (0.0, 0.0)), (0.5, (0.25, 0.125)), (1.5, (0.75, 0.625)), (2.0, (1.0, 1.0))],
)
def test_layerwise_scale_multiplies_what_is_kept_then_what_is_dropped(scale, keep):
    params = {"keep_1": 0.5, "keep_2": 0.25, "scale": scale}
    assert Layerwise(first=1).schedule(params, 3).keep[1:] == keep
