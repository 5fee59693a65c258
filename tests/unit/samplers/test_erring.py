"""What galloping costs where the full model errs, against bisection: the walk of a study."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schedsearch.core.trial import Evaluated, Task, Trial, TrialState
from tests.pace import some

BENCH = Path(__file__).parents[3] / "bench"
N_MAX, SAMPLES = 64, 240
SCORES = (1.0, 0.9, 0.75, 0.5, 0.3)
each_score = pytest.mark.parametrize("full_score", some(SCORES, [1.0, 0.75, 0.3]))


@pytest.fixture(scope="module")
def bench() -> Any:
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module("erring")
    finally:
        sys.path.remove(str(BENCH))


def costs(bench: Any, cell: Any, seeds: int, *ways: str) -> Any:
    """Costs of these searches and of bisection, over some seeds."""
    searches = (*ways, "bisection")
    found = [bench.costs(cell, N_MAX, SAMPLES, seed, True, searches) for seed in range(seeds)]
    return bench.summary(cell, found)


@each_score
@pytest.mark.parametrize(("layers", "tolerance"), [(6, 0.0), (6, 0.05), (12, 0.01)])
def test_galloping_costs_at_most_a_tenth_more_than_bisection(bench, full_score, layers, tolerance):
    cell = bench.Cell(layers, full_score, "nested", tolerance)
    row = costs(bench, cell, 1, "gallop", "no-screens")
    assert row["gallop"]["worst"] <= 1.1
    assert row["no-screens"]["worst"] <= 1.1


@each_score
def test_so_it_does_on_average_where_keeping_more_may_be_worse(bench, full_score):
    row = costs(bench, bench.Cell(6, full_score, "noise", 0.01), 8, "gallop")
    assert row["gallop"]["ratio"] <= 1.1


@pytest.mark.parametrize("kind", ["noise", "nested"])
def test_allowing_for_chance_costs_no_more_than_bisection_that_does_so_too(bench, kind):
    def passes(**settings: Any) -> float:
        targets = [bench.Erring(6, N_MAX, SAMPLES, 0.75, kind, seed) for seed in range(4)]
        allowing = {"tolerance": 0.01, "spread": True, "noise": 1.645}
        return sum(bench.search(target, **allowing, **settings).passes for target in targets)

    assert passes(screens=(20,)) <= 1.1 * passes(method="bisection")


def test_where_nothing_can_be_gained_screens_save_a_quarter(bench):
    row = costs(bench, bench.Cell(12, 1.0, "nested", 0.01), 3, "gallop")
    assert row["gallop"]["worst"] <= 0.75


@pytest.mark.parametrize(("full_score", "screened"), [(1.0, True), (0.97, True), (0.75, False)])
def test_screens_are_not_asked_where_keep_all_shows_that_many_samples_can_gain(
    bench, full_score, screened
):
    trials: list[Trial] = []
    target = bench.Erring(6, N_MAX, SAMPLES, full_score, "nested", 0)

    bench.search(target, trials, tolerance=0.01, screens=(20,))

    passed = [trial for trial in trials if trial.state is TrialState.SCREENED]
    can_gain = SAMPLES - round(SAMPLES * full_score)
    assert {trial.read for trial in passed} == ({20 + can_gain} if screened else set())
    assert any(trial.samples for trial in trials) is screened


def test_where_scores_are_not_0_and_1_the_first_screen_shows_it(bench):
    class Partly(bench.Erring):  # type: ignore[misc, name-defined]
        """Wrong answers are worth something."""

        def evaluate(self, task: Task) -> Evaluated:
            given = super().evaluate(task)
            scores = [replace(one, score=max(one.score, 0.2)) for one in given.scores]
            return replace(given, scores=tuple(scores))

    trials: list[Trial] = []
    bench.search(
        Partly(6, N_MAX, SAMPLES, 0.75, "nested", 0), trials, tolerance=0.01, screens=(20,)
    )

    passed = [trial.read for trial in trials if trial.state is TrialState.SCREENED]
    assert passed == [20 + SAMPLES // 4]


def test_screens_that_only_a_landslide_could_fail_are_not_asked(bench):
    trials: list[Trial] = []
    target = bench.Erring(6, N_MAX, SAMPLES, 1.0, "nested", 0)

    bench.search(target, trials, tolerance=0.05, screens=(20,))

    assert all(trial.samples is None for trial in trials)
