"""What is believed of a result, what is true, and what is certified: synthetic models."""

import importlib
import math
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from schedsearch.core.trial import Trial, TrialState
from tests.pace import some

BENCH = Path(__file__).parents[3] / "bench"


@pytest.fixture(scope="module")
def bench() -> Any:
    sys.path.insert(0, str(BENCH))
    try:
        importlib.import_module("erring")
        return importlib.import_module("believe")
    finally:
        sys.path.remove(str(BENCH))


def test_certificates_fail_no_more_often_than_they_say(bench):
    # Alpha is .05: of 40 more than 6 fail with a probability below .004, were each true by a hair.
    promises = [bench.promise(seed) for seed in range(40)]
    allowed = 40 * (0.05 + 3 * math.sqrt(0.05 * 0.95 / 40))
    assert sum(promise["broken"] for promise in promises) <= allowed
    assert sum(promise["certified"] < 0.9 for promise in promises) > 12


@pytest.mark.parametrize("models", some((10, 50), [10]))
def test_samples_that_chose_nothing_tell_the_drop_and_those_that_chose_flatter(bench, models):
    # 300 each, one answer in ten changed at most: a mean over 10 errs by .006, over 50 by .003.
    gaps = {"believed": [], "unseen": []}
    for seed in range(models):
        model = bench.Model(30, 1.0, 0.0, True, seed)
        samples = model.draw(600, 1)
        found = bench.WAYS[bench.BEFORE](model, samples.part(0, 300), 0.01)
        true = model.true_drop(found.schedule)
        unseen = float(model.drops(samples.part(300, 600), found.schedule).mean())
        gaps["believed"].append(true - found.believed)
        gaps["unseen"].append(true - unseen)
    assert abs(mean(gaps["unseen"])) < 0.01
    assert mean(gaps["believed"]) > 0.01


def test_spread_and_with_chance_taken_off_more_can_be_certified(bench):
    rows = [
        row
        for seed in range(3)
        for row in bench.run(
            bench.Model(16, 0.9, 0.03, True, seed), 4000, 0.02, [bench.BEFORE, bench.NOW]
        )
    ]
    above = {
        way: [row["certified"] - row["oracle"] for row in rows if row["way"] == way]
        for way in (bench.BEFORE, bench.NOW)
    }
    assert all(row["resolved"] for row in rows)
    assert median(above[bench.NOW]) <= 0.05


@pytest.mark.parametrize("seeds", some((8, 40), [8]))
def test_where_all_differences_are_noise_the_search_ends_at_the_floor(bench, seeds):
    # Of the first question .14 are rejected, and of the next that matter as many: a seed ends more
    # than .02 above the floor with a probability of about .03, one of 8 or four of 40 may.
    ours = [bench.plain(seed, screens=(50,), spread=True, noise=1.0) for seed in range(seeds)]
    halved = [bench.plain(seed, method="bisection") for seed in range(seeds)]
    assert sum(row["above_floor"] > 0.02 for row in ours) <= max(1, seeds // 10)
    for cost in ("questions", "passes"):
        assert mean(row[cost] for row in ours) <= mean(row[cost] for row in halved) / 2


def test_chance_stops_no_trial_that_all_samples_would_accept(bench):
    erring = importlib.import_module("erring")
    model = bench.Model(8, 0.75, 0.1, True, 0)
    samples, trials = model.draw(600, 1), list[Trial]()

    erring.search(bench.Target(model, samples), trials, tolerance=0.01, noise=1.0)

    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert len(pruned) > 5
    for trial in pruned:
        measured = bench.mean_of(model.drops(samples, trial.schedule))
        assert measured.drop - measured.chance > 0.01
