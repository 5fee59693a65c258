"""Searches under budgets and of the frontier, as a user types them."""

import json
from pathlib import Path

import pytest

from schedsearch import Schedule
from schedsearch.store.store import open_store

STUDY = """
study: {name}
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 16
  held_out: demo:held-out
  held_out_samples: 16
ranker: local
ranker_params: {{window: 2, rows: last}}
search: {search}
"""


def written(folder: Path, search: str, name: str = "small") -> Path:
    path = folder / f"{name.replace('/', '')}.yaml"
    path.write_text(STUDY.format(name=f"'{name}'", search=search), encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path):
    return tmp_path / "studies.db"


def test_frontier_is_searched_shown_picked_from_and_reported(run, store, tmp_path):
    study = written(tmp_path, "{sampler: frontier, trials: 3, first: 1, max_drop: 0.5}")
    ran = run("search", study, "--store", store)
    assert ran.code == 0, ran.err
    assert "hypervolume" in run("show", "small", "--store", store).out

    with open_store(store) as opened:
        trials = opened.trials("small")
    measured = [(one.measurement.flops_ratio, one.measurement.drop, one) for one in trials]
    out = tmp_path / "picked.json"
    for flops in (0.5, 0.9, 1):
        best = min((drop, cost, one.number) for cost, drop, one in measured if cost <= flops)
        ran = run("export", "small", out, "--store", store, "--budget", flops, "--json")
        assert json.loads(ran.out)["trial"] == best[2]
        assert Schedule.load(out).keep == trials[best[2]].schedule.keep
    for most in (max(drop for _, drop, _ in measured), 1):
        cheapest = min((cost, drop, one.number) for cost, drop, one in measured if drop <= most)
        ran = run("export", "small", out, "--store", store, "--max-drop", most, "--json")
        assert json.loads(ran.out)["trial"] == cheapest[2]

    least = min(cost for cost, _, _ in measured)
    for options in (["--budget", 0.01], ["--budget", 0.01, "--max-drop", 1]):
        ran = run("export", "small", out, "--store", store, *options)
        assert ran.code == 2
        assert f"`budget` must be at least {least!r}" in ran.err

    ran = run("report", study, "--store", store, "--out", tmp_path / "report")
    assert ran.code == 0, ran.err
    names = {path.name for path in (tmp_path / "report").iterdir()}
    pictures = {"schedule.png", "frontier.png"}
    assert names == pictures | {"schedule.json", "report.html", "report.md", "trials.csv"}
    text = (tmp_path / "report" / "report.md").read_text()
    assert "The cheapest that lost at most 0.5" in text


@pytest.mark.full
def test_families_are_compared(run, store, tmp_path):
    study = written(tmp_path, "{tolerance: 0, floor: 60, first: 6, method: scan}")
    options = ["--budget", "feasible:0.5", "--trials", 1, "--store", store]
    ran = run("compare", study, *options, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "PyramidDrop" in ran.out and "the interval excludes 0" in ran.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"compare.md", "compare.png", "compare.json"}


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("much", "write `flops: 0.4`"),
        ("flops:2", "a budget in flops must be a number in [0, 1], but got 2.0"),
        ("milliseconds:9", "milliseconds need a latency profile"),
    ],
)
def test_budget_that_cannot_be_read_is_refused_at_once(run, tmp_path, budget, expected):
    study = written(tmp_path, "{tolerance: 0, floor: 60}")
    ran = run("compare", study, "--budget", budget, "--store", tmp_path / "none.db")
    assert ran.code == 2
    assert expected in ran.err
    assert not (tmp_path / "none.db").exists()


def test_study_that_cannot_be_searched_does_not_take_its_name(run, store, tmp_path):
    study = written(tmp_path, "{sampler: bayes, budget: {flops: 0.01}, trials: 1}")
    ran = run("search", study, "--store", store)
    assert ran.code == 2
    assert "`budget` must be a FLOPs ratio in" in ran.err
    study = written(tmp_path, "{sampler: random, budget: {flops: 0.6}, trials: 1}")
    assert run("search", study, "--store", store).code == 0


def test_name_in_brackets_is_shown_as_it_is(run, store, tmp_path):
    study = written(tmp_path, "{sampler: random, budget: {flops: 0.6}, trials: 1}", "a[/b]")
    ran = run("search", study, "--store", store)
    assert ran.code == 0, ran.err
    assert "a[/b]: 1 trials" in ran.out
