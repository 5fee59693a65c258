"""Searches of the embedded model by what single cuts cost."""

import pytest

from schedsearch.app.open import open_study
from schedsearch.app.report import write_report
from schedsearch.app.report_search import goal, kept_more, rule
from schedsearch.core.trial import TrialState
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import InputError
from schedsearch.evaluation.worker import ModelWorker

SAMPLES = 24
SETTINGS = {"sampler": "additive", "samples": 6, "shares": [0.5, 0.125], "first": 4, "trials": 4}


def opened(folder, **settings):
    return open_study(
        "demo",
        ShapesVQA("calibration", SAMPLES),
        ranker="local",
        sampler={**SETTINGS, **settings},
        store=folder / "store.db",
    )


def test_search_that_was_stopped_goes_on_and_measures_no_cut_again(tmp_path, monkeypatch):
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
    with opened(tmp_path / "once", max_drop=0.1) as study:
        study.run()
        whole, search = study.trials, study.spec.search
    with opened(tmp_path / "twice", max_drop=0.1) as study:
        study.run(n_trials=2)
    monkeypatch.delattr(ModelWorker, "means")
    with opened(tmp_path / "twice", max_drop=0.1) as study:
        study.run()
        assert study.trials == whole
        assert study.spec.search == search
        assert study.sampler.finished(study.trials)

    assert search["shares"] == [0.125, 0.5]
    assert [len(row) for row in search["divergences"]] == [2] * 4
    assert min(min(row) for row in search["divergences"]) >= 0
    assert 0 < search["spent"] < 8 * 6 / SAMPLES


@pytest.mark.parametrize("chosen", [{"max_drop": 0.1}, {"budget": {"flops": 0.8}}])
def test_result_was_measured_on_all_samples_and_the_report_says_what_it_is(tmp_path, chosen):
    with opened(tmp_path, **chosen) as study:
        study.run()
        best = study.sampler.best(study.trials)
        assert best.state is TrialState.COMPLETE
        assert best.measurement.n == SAMPLES
        assert best.schedule.ranker.name == "local"
        if "max_drop" in chosen:
            assert best.measurement.drop <= 0.1
            assert "The cheapest that lost at most 0.1 exact" in rule(study)
        else:
            assert best.measurement.flops_ratio <= 0.8
            assert "within the budget flops: 0.8" in rule(study)
        assert "on 6 samples" in goal(study)
        assert "Single cuts, before the first trial, have cost 0." in kept_more(study)[-1]


@pytest.mark.parametrize(
    "settings",
    [
        {"tolerance": 0.1, "guess": "additive", "floor": 48},
        {
            "sampler": "random",
            "trials": 2,
            "budget": {"flops": 0.8},
            "family": "linear",
            "warm_start": ["additive"],
        },
    ],
    ids=["guess", "warm start"],
)
def test_search_that_begins_with_single_cuts_counts_what_they_cost(tmp_path, settings):
    settings = {"first": 5, **settings}
    data = ShapesVQA("calibration", SAMPLES)
    store = tmp_path / "store.db"
    with open_study("demo", data, ranker="local", sampler=settings, store=store) as study:
        before = study.effort
        run = study.run()
        # 18 cuts, each of some layers on all 24 samples, as 50 are more than there are.
        assert 3 < before.spent < 18
        assert run.effort.spent == study.effort.spent > before.spent
        assert f"have cost {before.spent:.1f} of them" in kept_more(study)[-1]
        if "guess" in settings:
            assert len(study.sampler.guess) == 8
            assert study.trials[1].params["count"] == max(48, study.sampler.guess[5])
        else:
            assert study.trials[0].params == study.sampler.starts[0]


def test_budget_out_of_reach_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.delattr(ModelWorker, "means")
    with pytest.raises(InputError, match="`budget` must be at least 0."):
        opened(tmp_path, budget={"flops": 0.05})
    assert not (tmp_path / "store.db").exists()


@pytest.mark.full
def test_auto_goes_on_after_a_stop_and_its_report_is_that_of_g_search(tmp_path):
    settings = {"sampler": "auto", "tolerance": 0.1, "first": 5, "trials": 3}
    data, store = ShapesVQA("calibration", SAMPLES), tmp_path / "store.db"

    def opened_auto(name):
        return open_study("demo", data, name=name, ranker="local", sampler=settings, store=store)

    with opened_auto("once") as study:
        study.run()
        whole, best = study.trials, study.best_trial
        beyond = [trial for trial in whole if "pass" not in trial.params]
        assert 1 <= len(beyond) <= 3
        assert best.measurement.drop <= 0.1
        assert study.nesting is not None
        assert "at most 3 cheaper schedules around that curve" in goal(study)
        write_report(study, None, tmp_path / "report")
        assert not (tmp_path / "report" / "frontier.png").exists()
    with opened_auto("twice") as study:
        study.run(n_trials=len(whole) - len(beyond) + 1)
        assert not study.finished
    with opened_auto("twice") as study:
        study.run()
        assert [one.schedule for one in study.trials] == [one.schedule for one in whole]
        assert study.finished and study.best == best.schedule
