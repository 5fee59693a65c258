import random

import pytest

from schedsearch.core.budget import Budget
from schedsearch.core.families import FAMILIES
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.samplers.rough_cost import RoughCost, rough_schedule

SHAPE = DecoderShape(12, 64, 4, 4, 16, 172, 1000)
MIXED = tuple(SampleTokens(n, 20 + n % 50) for n in (576, 64, 64, 1, 300, 0))


@pytest.mark.parametrize("measure", ["flops", "kv", "mean_keep"])
@pytest.mark.parametrize("first", [0, 2, 11])
def test_is_near_the_cost(measure, first):
    cost = Budget(measure, 0.5).cost(SHAPE, MIXED)
    rough, rng = RoughCost.of(cost, SHAPE.layers, first), random.Random(0)
    for _ in range(50):
        tail = sorted((rng.random() for _ in range(SHAPE.layers - first)), reverse=True)
        schedule = Schedule((1.0,) * first + tuple(tail))
        # kv and FLOPs round up to whole tokens, of which the shortest prompt has one.
        assert rough(schedule) == pytest.approx(cost(schedule), rel=0.01)


def test_schedule_uses_the_limit_up_but_for_a_little_of_what_there_is_to_choose():
    family, first = FAMILIES["sigmoid"](first=10), 10
    cost = Budget("flops", 0.5).cost(SHAPE, MIXED)
    rough = RoughCost.of(cost, SHAPE.layers, first)
    least, most = rough.costs[0], rough.costs[-1]
    point = (("steepness", 8.0), ("midpoint", 0.5), ("floor", 0.2))
    for share in (0.05, 0.5, 0.95):
        limit = least + share * (most - least)
        found = rough_schedule(family, rough, limit, SHAPE, point)
        used = (rough(found) - least) / (most - least)
        assert 0.99 * share < used <= share
    assert rough_schedule(family, rough, least / 2, SHAPE, point) is None
