"""`schedsearch plan` on the embedded model."""

import json
from pathlib import Path

import pytest

from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare

STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 40
  certify: demo:certify
  certify_samples: 12
metric: exact_match
ranker: local
search: {tolerance: 0.05, first: 4}
certify: {tolerance: 0.2}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def planned(run, study, *options):
    ran = run("plan", study, "--json", *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_plan_follows_from_the_time_of_a_pass_and_keeps_nothing(run, study):
    found = planned(run, study, "--seconds-per-pass", 3600, "--workers", 3)
    assert [one["workers"] for one in found["by_workers"]] == [1, 2, 3]
    one, two, three = (each["minutes"] for each in found["by_workers"])
    assert one > two > three
    middle = sorted(found["searches"], key=lambda search: search["seconds"])[1]
    passes = middle["passes"] + middle["end_passes"]
    assert one == pytest.approx(60 * passes + found["opening_seconds"] / 60, rel=0.02)
    assert found["by_workers"][0]["least"] < one < found["by_workers"][0]["most"]
    assert found["by_workers"][1]["worker_hours"] == pytest.approx(2 * two / 60)
    assert [path.name for path in study.parent.iterdir()] == ["study.yaml"]


def test_without_a_certificate_a_plan_has_the_held_out_samples_of_the_end(run, study):
    own = "  held_out: demo:held-out\n  held_out_samples: 20\n"
    text = STUDY.replace("  certify: demo:certify\n  certify_samples: 12\n", own)
    study.write_text(text.replace("certify: {tolerance: 0.2}\n", ""))
    found = planned(run, study, "--seconds-per-pass", 3600, "--workers", 1)
    assert (found["certify_samples"], found["held_out_samples"]) == (0, 20)
    assert all(0.5 < one["end_passes"] < 1 for one in found["searches"])


@pytest.mark.full
def test_a_measured_plan_says_on_how_many_samples(run, study):
    ran = run("plan", study, "--workers", 1)
    assert ran.code == 0, ran.err
    for text in ("a full pass over 40 samples", "measured on 40 of them", "midway", "GPU hours"):
        assert text in ran.out


@pytest.mark.full
def test_the_most_workers_are_those_of_the_study_file(run, study):
    study.write_text(STUDY + "run: {executor: ray, workers: 2}\n")
    found = planned(run, study, "--executor", "local", "--seconds-per-pass", 1)
    assert [one["workers"] for one in found["by_workers"]] == [1, 2]


def test_a_study_that_cannot_be_searched_is_not_planned(run, study):
    study.write_text(STUDY.replace("ranker: local", "ranker: best"))
    ran = run("plan", study)
    assert (ran.code, ran.out) == (2, "")
    assert "ranker" in ran.err


@pytest.mark.full
def test_the_plan_of_the_demo_is_within_30_percent_of_its_passes(run, tmp_path):
    demo = Path("studies/demo.yaml").absolute()
    found = planned(run, demo, "--store", tmp_path / "plan.db", "--workers", 1)
    middle = sorted(found["searches"], key=lambda search: search["seconds"])[1]
    with prepare(read_study_file(demo), demo.parent, tmp_path / "demo.db").open() as study:
        spent = study.run().effort.spent
    assert middle["passes"] == pytest.approx(spent, rel=0.3)
