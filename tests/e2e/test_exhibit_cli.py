"""Exhibits from the command line: with a search, by a command, and in the report."""

import json

import pytest

from schedsearch.store.store import open_store

STUDY = """
study: small
model: demo
data: {{calibration: demo:calibration, calibration_samples: 12}}
search: {{tolerance: 0.5, floor: 60, first: 7}}
exhibits: {exhibits}
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(exhibits):
        (tmp_path / "study.yaml").write_text(STUDY.format(exhibits=exhibits))
        return "study.yaml"

    return write


def stored(trial):
    with open_store("schedsearch.db", read_only=True) as store:
        return [one.name for one in store.exhibits("small", trial)]


def test_search_records_what_the_study_file_says_and_the_command_more(run, written, tmp_path):
    searched = run("search", written(0), "--json")
    best = json.loads(searched.out)["best"]["number"]
    assert stored(best) == []
    assert run("search", written(3)).code == 0  # finished long ago, and no other study for it
    assert len(stored(best)) == 3

    more = run("exhibit", "study.yaml", "--samples", "5", "--json")
    assert more.code == 0, more.err
    found = json.loads(more.out)
    assert (found["trial"], found["exhibits"], found["recorded"]) == (best, 5, 2)
    again = run("exhibit", "study.yaml", "--samples", "5")
    assert f"Trial {best} has 5 exhibits, 0 of them new" in " ".join(again.out.split())
    other = run("exhibit", "study.yaml", "--trial", "0", "--samples", "1")
    assert other.code == 0 and len(stored(0)) == 1

    refused = run("exhibit", "study.yaml", "--trial", "99")
    assert refused.code == 2
    assert "study `small` has no trial 99; `schedsearch show` lists its trials" in refused.err
    refused = run("exhibit", "study.yaml", "--held-out")
    assert refused.code == 2
    assert "names no `data.held_out`" in refused.err
    assert run("db", "check").code == 0

    assert run("report", "study.yaml").code == 0
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert page.count('<article class="exhibit">') == 5


def test_trial_of_a_study_that_is_not_there_makes_nothing(run, written, tmp_path):
    refused = run("exhibit", written(1))
    assert refused.code == 2
    assert not (tmp_path / "schedsearch.db").exists()
