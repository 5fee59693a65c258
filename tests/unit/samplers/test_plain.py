"""A tenth of the answers change for no reason, and vision is needed in the first layers only."""

import importlib
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from schedsearch.core.schedule import Schedule
from tests.pace import some

BENCH = Path(__file__).parents[3] / "bench"


@pytest.fixture(scope="module")
def bench() -> Any:
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module("plain")
    finally:
        sys.path.remove(str(BENCH))


def test_answers_that_change_and_are_worth_the_same_drop_nothing(bench):
    model = bench.model_of("answers", 0)
    samples, half = model.draw(2000, 1), Schedule((1.0, 1.0) + (0.5,) * 8)
    full, now = (model.answers(samples, one) for one in (Schedule.full(10), half))

    # 2,000 tosses at .1 have a standard error of .007.
    assert 0.08 < np.mean(full != now) < 0.12
    assert set(full) == {0, 2}
    assert set(now) == {0, 1, 2, 3}
    assert not model.drops(samples, half).any()


SPREAD = {"spread": True, "noise": 1.645}


@pytest.mark.parametrize("settings", some([{}, SPREAD], [{}]), ids=str)
def test_where_they_do_every_search_ends_certified_at_the_floor_and_asks_no_more_than_bisection(
    bench, settings
):
    for seed in range(20):
        model = bench.model_of("answers", seed)
        found = bench.searched(model, screens=(50,), **settings)
        halved = bench.searched(model, method="bisection", **settings)

        assert bench.above_floor(model, found) <= 0.02
        assert bench.certified(model, found, 2000, 10)
        assert found.questions <= halved.questions
        assert found.passes <= halved.passes


@pytest.mark.parametrize("seeds", some((4, 40), [4]))
def test_where_scores_change_by_chance_the_search_ends_at_the_floor(bench, seeds):
    # The first question is rejected with a probability of .04, and so is one of the next two that
    # matter: a seed ends more than .02 above the floor with about .004.
    models = [bench.model_of("scores", seed) for seed in range(seeds)]
    ours = [bench.searched(one, screens=(50,), spread=True, noise=1.645) for one in models]
    naive = [bench.searched(one, method="bisection") for one in models]

    above = [bench.above_floor(*pair) for pair in zip(models, ours, strict=True)]
    assert sum(one > 0.02 for one in above) <= seeds // 20
    assert mean(one.questions for one in ours) <= mean(one.questions for one in naive) / 2
    assert mean(one.passes for one in ours) <= mean(one.passes for one in naive) / 2
    assert all(a.questions <= b.questions for a, b in zip(ours, naive, strict=True))


def test_no_test_could_prove_it_for_each_seed_on_2000_samples(bench):
    # The normal limit: sqrt(2000 / .1) * .01 - 1.645 = -.231, below which lies .409.
    best = bench.best_power(2000)
    assert best == pytest.approx(0.409, abs=0.005)

    floor = bench.Cost(0.0, 0, (100, 100) + (0,) * 8)
    models = [bench.model_of("scores", seed) for seed in range(40)]
    proven = mean(bench.certified(one, floor, 2000, 1) for one in models)

    # The share of 40 has a standard error of .08.
    assert proven < best + 3 * 0.08
