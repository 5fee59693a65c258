"""What is believed of a result, what is true, and what is certified: synthetic models."""

import importlib
import math
import sys
from argparse import Namespace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
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
    # Alpha is .05: of 24 more than 4 fail with a probability below .006, were each true by a hair.
    promises = [bench.promise(seed) for seed in range(24)]
    allowed = 24 * (0.05 + 3 * math.sqrt(0.05 * 0.95 / 24))
    assert sum(promise["broken"] for promise in promises) <= allowed
    assert sum(promise["certified"] < 0.9 for promise in promises) > 6


@pytest.mark.parametrize("models", some((6, 50), [6]))
def test_samples_that_chose_nothing_tell_the_drop_and_those_that_chose_flatter(bench, models):
    # 300 samples each, a tenth of the answers changes at most: the mean of 6 has a standard error
    # below .007, that of 50 one below .003. The seeds are fixed.
    rows = list(bench.drops(Namespace(models=models)))
    gaps = {
        told: mean(row["true"] - row[told] for row in rows if row["way"] == bench.BEFORE)
        for told in ("believed", "unseen")
    }
    assert abs(gaps["unseen"]) < 0.01 < gaps["believed"]


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
    assert median(above[bench.NOW]) <= min(0.05, median(above[bench.BEFORE]) / 2)


def test_what_changes_at_random_is_another_in_samples_that_chose_nothing(bench):
    model, half = bench.Model(8, 1.0, 0.0, True, 0), bench.Schedule((1.0, 1.0) + (0.5,) * 6)
    whole, other = model.draw(2000, 1), model.draw(1000, 2)
    seen, unseen = whole.part(0, 1000), whole.part(1000, 2000)

    tosses = [model.changed(samples, half) for samples in (seen, unseen, other)]

    assert np.array_equal(np.concatenate(tosses[:2]), model.changed(whole, half))
    # Of independent numbers this has a standard error of .03.
    assert (abs(np.corrcoef(tosses)[np.triu_indices(3, 1)]) < 0.15).all()


def test_chance_stops_no_trial_that_all_samples_would_accept(bench):
    erring, truth = map(importlib.import_module, ("erring", "truth"))
    model = bench.Model(8, 0.75, 0.1, True, 0)
    samples, trials = model.draw(600, 1), list[Trial]()

    erring.search(truth.Target(model, samples), trials, tolerance=0.01, noise=1.0)

    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert len(pruned) > 5
    for trial in pruned:
        measured = bench.mean_of(model.drops(samples, trial.schedule))
        assert measured.drop - measured.chance > 0.01
