"""A search of the embedded model: what saves work changes nothing else."""

import pytest

from schedsearch.app.open import open_study
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.trial import TrialState
from schedsearch.demo.shapesvqa import ShapesVQA
from tests.pace import some

SAMPLES = 24
RANKER = RankerSpec.from_mapping("local", {"window": 2, "rows": "last"})
SETTINGS = {"first": 4, "tolerance": 0.05}


def searched(folder, name, prefix_bytes=None, **settings):
    calibration = ShapesVQA("calibration", SAMPLES)
    with open_study(
        "demo",
        calibration,
        name=name,
        ranker=RANKER,
        sampler=SETTINGS | settings,
        store=folder / f"{name}.db",
        prefix_bytes=prefix_bytes,
    ) as study:
        run = study.run()
        peak = study.executor.ask("evaluator", "calibration").peak_prefix_bytes
        return study.best, run, study.trials, peak


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Bisection on all samples with nothing kept: what a search found before it saved anything."""
    folder = tmp_path_factory.mktemp("plain")
    return searched(folder, "plain", 0, method="bisection", screens=[])


BOUNDS = {None: "automatic", 0: "none", 2_000_000: "tight"}


@pytest.mark.parametrize("bound", some(BOUNDS, [2_000_000]), ids=BOUNDS.values())
def test_the_schedule_is_the_same_at_any_bound_and_the_bound_holds(tmp_path, plain, bound):
    best, run, trials, peak = searched(tmp_path, "quick", bound, screens=[8])
    assert best == plain[0]
    assert min(best.keep) < 1
    assert any(trial.state is TrialState.PRUNED for trial in trials)
    if bound is None:
        assert 0 < run.effort.spent < 0.75 * plain[1].effort.spent
    else:
        assert peak <= bound


def test_effort_without_any_saving_is_what_the_questions_cost(plain):
    _, run, trials, peak = plain
    assert peak == 0
    assert all(trial.samples is None for trial in trials)
    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    # Forced answers, which nothing drops, are counted in the work and not in the ratios.
    assert run.effort.spent <= run.effort.naive * 1.05
    assert pruned or run.effort.spent == pytest.approx(run.effort.naive, rel=0.05)
