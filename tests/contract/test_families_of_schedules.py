"""What every family must do. A new family joins with its line in FAMILIES."""

import json
import math
import os
import pickle
import re
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import MEASURES, Budget, Measure
from schedsearch.core.families import FAMILIES, Family, make_family
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.plugin import PlugIn
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.errors import InputError
from tests.pace import examples
from tests.unit.core.strategies import points, values

SHAPE = DecoderShape(8, 64, 4, 2, 16, 128, 100)
TOKENS = [SampleTokens(64, 12), SampleTokens(100, 9)]
GRID = {Fraction(count, one.n_vision) for one in TOKENS for count in range(one.n_vision + 1)}


def milliseconds(schedule: Schedule) -> float:
    return sum(1 + 2 * keep for keep in schedule.keep)


UNITS = {
    **MEASURES,
    "milliseconds": Measure("milliseconds", "milliseconds", lambda *_: milliseconds, shares=False),
}

each_family = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
each_unit = pytest.mark.parametrize("measure", UNITS.values(), ids=UNITS)
firsts = st.integers(0, 2)


def middle(family: Family, layers: int) -> dict[str, float]:
    return {each.name: each.at(0.5) for each in family.space(layers).parameters}


def solved_for(family: Family, point: dict[str, float], budget: Budget) -> Schedule | None:
    try:
        return family.schedule(point, budget, SHAPE, TOKENS)
    except InputError:
        return None


def budgets(measure: Measure) -> st.SearchStrategy[Budget]:
    most = 1.0 if measure.shares else milliseconds(Schedule.full(SHAPE.layers))
    return st.floats(0, 1).map(lambda share: Budget(measure, share * most))


# The space --------------------------------------------------------------------------------------


@each_family
@pytest.mark.parametrize("layers", [3, 4, 8, 80])
def test_bounds_of_the_space_are_numbers_with_names_of_their_own(make, layers):
    family = make()
    parameters = (*family.space(layers).parameters, family.solved(layers))
    assert len({each.name for each in parameters}) == len(parameters)
    for each in parameters:
        assert -math.inf < each.low <= each.high < math.inf
        assert each.low > 0 or not each.log
        assert (each.at(0), each.at(1)) == pytest.approx((each.low, each.high))


@each_family
@given(st.data(), firsts, st.integers(3, 32))
def test_every_point_of_the_space_is_a_valid_schedule(make, data, first, layers):
    family = make(first=first)
    schedule = family.at(data.draw(points(family, layers)), layers, RankerSpec("text"))
    assert schedule.layers == layers
    assert schedule.keep[:first] == (1.0,) * first
    assert schedule.ranker == RankerSpec("text")


@each_family
@given(st.data(), firsts, st.integers(3, 32))
def test_no_ratio_falls_when_the_solved_parameter_grows(make, data, first, layers):
    family = make(first=first)
    params = data.draw(points(family, layers))
    solved = family.solved(layers)
    low, high = sorted((data.draw(values(solved)), data.draw(values(solved))))
    less = family.at({**params, solved.name: low}, layers)
    more = family.at({**params, solved.name: high}, layers)
    assert all(a <= b for a, b in zip(less.keep, more.keep, strict=True))


@each_family
@given(st.data())
def test_solved_schedule_stays_in_the_family(make, data):
    family = make()
    params = middle(family, SHAPE.layers)
    solved = family.solved(SHAPE.layers)
    member = family.at({**params, solved.name: data.draw(values(solved))}, SHAPE.layers)

    budget = Budget("flops", flops_ratio(SHAPE, member, TOKENS))
    schedule = family.schedule(params, budget, SHAPE, TOKENS)

    for sample in TOKENS:
        pairs = zip(schedule.counts(sample.n_vision), member.counts(sample.n_vision), strict=True)
        assert all(abs(a - b) <= 1 for a, b in pairs)


@each_family
def test_solving_passes_the_ranker_on(make):
    family = make()
    ranker = RankerSpec.from_mapping("random", {"seed": 1})
    params = middle(family, SHAPE.layers)
    assert family.schedule(params, Budget("flops", 0.9), SHAPE, TOKENS, ranker).ranker == ranker


@each_family
def test_share_of_the_feasible_range_is_taken_from_the_familys_first_layer(make):
    family = make(first=5)
    params = {each.name: each.at(0) for each in family.space(SHAPE.layers).parameters}
    least = family.schedule(params, Budget("feasible", 0.0), SHAPE, TOKENS)
    assert least.keep == (1.0,) * 5 + (0.0,) * 3


@each_family
def test_budget_out_of_reach_names_the_range(make):
    family = make()
    params = middle(family, SHAPE.layers)
    with pytest.raises(InputError, match=r"`budget` must be a FLOPs ratio in \[0\.\d+, 1\.0\]"):
        family.schedule(params, Budget("flops", 0.01), SHAPE, TOKENS)


@each_family
def test_the_solved_parameter_cannot_be_given_with_a_budget(make):
    family = make()
    name = family.solved(SHAPE.layers).name
    assert name not in [each.name for each in family.space(SHAPE.layers).parameters]
    params = {**middle(family, SHAPE.layers), name: 1.0}
    with pytest.raises(InputError, match=f"`{name}` of family {family.name} follows"):
        family.schedule(params, Budget("flops", 0.5), SHAPE, TOKENS)


@each_family
def test_unknown_missing_and_excessive_parameters_are_refused(make):
    family = make()
    params, solved = middle(family, 8), family.solved(8)
    with pytest.raises(InputError, match="`budgett` is not a parameter"):
        family.at({**params, solved.name: solved.low, "budgett": 1.0}, 8)
    with pytest.raises(InputError, match="`budgett` is not a parameter"):
        family.schedule({**params, "budgett": 1.0}, Budget("flops", 0.9), SHAPE, TOKENS)
    with pytest.raises(InputError, match=f"`{solved.name}` must be an? (number|integer) in"):
        family.at({**params, solved.name: 1e99}, 8)
    with pytest.raises(InputError, match=f"`{solved.name}` is missing"):
        family.at(params, 8)


@each_family
def test_model_without_a_reducible_layer_is_refused(make):
    with pytest.raises(InputError, match="`first` must be one of the layers 0 to 1, but got 2"):
        make(first=2).space(2)


@each_family
def test_one_reducible_layer_is_enough(make):
    family = make(first=2)
    params = {**middle(family, 3), family.solved(3).name: family.solved(3).low}
    assert family.at(params, 3).keep == pytest.approx((1.0, 1.0, 0.0))


@each_family
def test_study_names_a_family_and_its_first_layer(make):
    assert make_family(PlugIn.from_mapping(make.name, {"first": 3})) == make(first=3)
    assert make_family(PlugIn(make.name)) == make(first=2)


# The schedule of a budget -----------------------------------------------------------------------


@each_family
@each_unit
@examples(20)
@given(data=st.data())
def test_solved_schedule_falls_on_the_grid_of_the_prompts_within_the_budget(make, measure, data):
    family = make()
    point = data.draw(points(family, SHAPE.layers))
    del point[family.solved(SHAPE.layers).name]
    budget = data.draw(budgets(measure))
    schedule = solved_for(family, point, budget)
    if schedule is None:
        return
    assert list(schedule.keep) == sorted(schedule.keep, reverse=True)
    assert {Fraction(keep).limit_denominator(100) for keep in schedule.keep} <= GRID
    assert all(float(Fraction(keep).limit_denominator(100)) == keep for keep in schedule.keep)
    assert budget.cost(SHAPE, TOKENS)(schedule) <= budget.limit(SHAPE, TOKENS)


@each_family
@each_unit
@examples(20)
@given(data=st.data())
def test_a_greater_budget_takes_nothing_away(make, measure, data):
    family = make()
    point = data.draw(points(family, SHAPE.layers))
    del point[family.solved(SHAPE.layers).name]
    low, high = sorted((data.draw(budgets(measure)) for _ in range(2)), key=lambda b: b.amount)
    less, more = solved_for(family, point, low), solved_for(family, point, high)
    if less and more:
        assert all(a <= b for a, b in zip(less.keep, more.keep, strict=True))


@each_family
@each_unit
def test_range_that_is_named_can_be_used(make, measure):
    family = make()
    point = middle(family, SHAPE.layers)
    nothing = Budget(measure, 0.0)
    if measure == MEASURES["feasible"]:  # reaches to the least of any family
        assert solved_for(family, point, Budget(measure, 1.0)) == Schedule.full(SHAPE.layers)
        return
    what = f"a {measure.unit}" if measure.shares else measure.unit
    message = rf"`budget` must be {what} in \[([\d.]+), ([\d.]+)\].* but got 0\.0; choose one"
    with pytest.raises(InputError, match=message) as refused:
        family.schedule(point, nothing, SHAPE, TOKENS)
    found = re.search(message, str(refused.value))
    for end in map(float, found.groups()):
        assert solved_for(family, point, Budget(measure, end)) is not None


# What caches and processes rely on ----------------------------------------------------------------


@each_family
def test_equal_families_are_equal_as_keys_and_after_pickling(make):
    assert hash(make(first=1)) == hash(make(first=1))
    assert make(first=1) != make(first=2)
    assert pickle.loads(pickle.dumps(make(first=1))) == make(first=1)  # noqa: S301


PROGRAM = """
import json, sys
from tests.contract.test_families_of_schedules import in_the_middle
json.dump(in_the_middle(), sys.stdout)
"""


def in_the_middle() -> dict[str, list[float]]:
    """Each family's schedule for the middle of its space."""
    budget = Budget("flops", 0.7)
    made = {name: make() for name, make in FAMILIES.items()}
    return {
        name: list(family.schedule(middle(family, SHAPE.layers), budget, SHAPE, TOKENS).keep)
        for name, family in made.items()
    }


def test_schedules_are_the_same_at_every_call_and_in_every_process():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(done.stdout) == in_the_middle() == in_the_middle()
