"""Trials by REST, compared with what the store and the command line say."""

import base64
import json
from dataclasses import replace

import pytest

from schedsearch.app.study_view import StudyView
from schedsearch.cli import main
from schedsearch.core.schedule import Schedule
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.settings import GSearchSettings
from schedsearch.store.store import open_store
from tests.integration.searched import searched_store
from tests.integration.service.test_access import API, problem
from tests.unit.execution.synthetic import (
    CHUNK,
    DIFFERENT,
    SEARCH,
    STUDY,
    SUBJECT,
    evaluate,
    local,
    spec,
)
from tests.unit.store.strategies import EXHIBIT, PICTURE

SETTINGS = GSearchSettings(tolerance=0.1, first=3, method="bisection", screens=[])


@pytest.fixture
def searched(serve, tmp_path):
    """A service whose store has a study that was searched without it."""
    with open_store(tmp_path / "store.db") as store:
        store.create_study(replace(spec(), search=SETTINGS.plain()))
        run_study(STUDY, SEARCH, Scoring(STUDY, SUBJECT, store, local(evaluate), CHUNK), store)
        StudyView(store, STUDY).enqueue(Schedule((1.0,) * 5 + (0.5,)))  # nobody measures that
    return serve()


def pages(service, path, field, **asked):
    """All rows of a list, three at a time."""
    headers, found, cursor = service.by("read"), [], None
    while True:
        query = asked | {"limit": 3} | ({"cursor": cursor} if cursor else {})
        answer = service.client.get(f"{API}/studies/{STUDY}{path}", headers=headers, params=query)
        assert answer.status_code == 200, answer.text
        found += answer.json()[field]
        cursor = answer.json()["cursor"]
        if cursor is None:
            return found


def test_all_trials_come_page_by_page(searched):
    trials = searched.store.trials(STUDY)
    found = pages(searched, "/trials", "trials")
    assert [one["number"] for one in found] == [trial.number for trial in trials]
    assert [tuple(one["schedule"]["keep"]) for one in found] == [
        trial.schedule.keep for trial in trials
    ]
    assert {one["state"] for one in found} > {"COMPLETE"}


@pytest.mark.parametrize("order", ["drop", "flops_ratio", "score"])
@pytest.mark.parametrize("descending", [False, True])
def test_trials_are_sorted_and_those_without_a_value_come_last(searched, order, descending):
    values = [
        one[order]
        for one in pages(searched, "/trials", "trials", order=order, descending=descending)
    ]
    known = [value for value in values if value is not None]
    assert len(values) == len(searched.store.trials(STUDY))
    assert known == sorted(known, reverse=descending)
    assert values == known + [None] * (len(values) - len(known))
    assert 0 < len(known) < len(values)


def test_trials_are_filtered(searched):
    trials = searched.store.trials(STUDY)
    found = pages(searched, "/trials", "trials", state="COMPLETE", max_drop=0.05, max_cost=0.9)
    assert [one["number"] for one in found] == [
        trial.number
        for trial in trials
        if trial.state == "COMPLETE"
        and trial.measurement.drop <= 0.05
        and trial.measurement.flops_ratio <= 0.9
    ]
    assert found
    found = pages(searched, "/trials", "trials", layer=4)
    assert [one["number"] for one in found] == [
        trial.number for trial in trials if trial.params.get("layer") == 4
    ]
    assert found


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "WzEsMl0x", "e30", "WyJhIiwxXQ", "W" * 400])
def test_cursor_that_no_page_gave_is_refused(searched, cursor):
    answer = searched.client.get(
        f"{API}/studies/{STUDY}/trials", headers=searched.by("read"), params={"cursor": cursor}
    )
    assert "cursor" in problem(answer, 422)


def test_trial_has_its_attempts_and_answers(searched):
    best = StudyView(searched.store, STUDY).best_trial
    headers = searched.by("read")
    found = searched.client.get(f"{API}/studies/{STUDY}/trials/{best.number}", headers=headers)
    assert found.json()["drop"] == best.measurement.drop
    (attempt,) = found.json()["attempts"]
    (worker,) = attempt["workers"]
    assert attempt["number"] == 1
    assert worker["worker"].startswith("process ")
    assert attempt["started"] <= worker["began"] <= worker["ended"] <= attempt["ended"]
    answers = pages(searched, f"/trials/{best.number}/answers", "answers")
    assert len(answers) == DIFFERENT
    mean = sum(one["score"] for one in answers) / len(answers)
    assert abs(mean - best.measurement.score) < 0.2  # samples of equal content count once here
    assert all(one["full_score"] is not None for one in answers)
    assert {one["prediction"] for one in answers} != {one["full_prediction"] for one in answers}
    missing = searched.client.get(f"{API}/studies/{STUDY}/trials/9999", headers=headers)
    assert "trial 9999" in problem(missing, 404)


def test_exhibits_of_a_trial_and_their_pictures(searched):
    headers, store = searched.by("read"), searched.store
    place = f"{API}/studies/{STUDY}/trials/1/exhibits"
    assert searched.client.get(place, headers=headers).json() == {"exhibits": []}
    store.add_exhibits(STUDY, 1, [(EXHIBIT, PICTURE)])
    (found,) = searched.client.get(place, headers=headers).json()["exhibits"]
    for name in (
        "sample",
        "name",
        "split",
        "question",
        "answer",
        "full_answer",
        "changed",
        "width",
    ):
        assert found[name] == getattr(EXHIBIT, name)
    assert (found["score"], found["full_score"]) == (0.0, 1.0)
    assert found["counts"] == [9, 9, 5, 0]
    assert [base64.b64decode(one) for one in found["kept"]] == [*EXHIBIT.kept]
    box = {"left": 0, "top": 0, "width": 1, "height": 0.5}
    assert found["views"] == [
        {"rows": 2, "columns": 3, "box": box},
        {"rows": 1, "columns": 3, "box": None},
    ]
    picture = searched.client.get(f"{place}/{EXHIBIT.sample}/picture", headers=headers)
    assert (picture.status_code, picture.content) == (200, PICTURE)
    assert picture.headers["content-type"] == "image/webp"
    assert picture.headers["cache-control"].startswith("private")
    assert picture.headers["x-content-type-options"] == "nosniff"
    for missing in ("2/exhibits/{}/picture", "9999/exhibits", "1/exhibits/none/picture"):
        path = f"{API}/studies/{STUDY}/trials/{missing.format(EXHIBIT.sample)}"
        problem(searched.client.get(path, headers=headers), 404)
    assert searched.client.get(f"{place}/{EXHIBIT.sample}/picture").status_code == 401


def exported(monkeypatch, capsysbinary, store, *options):
    arguments = ["schedsearch", "export", STUDY, "-", "--store", str(store), *options]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        main()
        raise SystemExit(0)
    return capsysbinary.readouterr().out


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, []),
        ({"budget": 0.95}, ["--budget", "0.95"]),
        ({"max_drop": 0.02}, ["--max-drop", "0.02"]),
    ],
)
def test_schedule_is_what_the_command_line_exports(
    searched, monkeypatch, capsysbinary, query, options
):
    answer = searched.client.get(
        f"{API}/studies/{STUDY}/schedule", headers=searched.by("read"), params=query
    )
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.content == exported(monkeypatch, capsysbinary, searched.settings.store, *options)
    best = searched.client.get(
        f"{API}/studies/{STUDY}/best", headers=searched.by("read"), params=query
    ).json()
    told = json.loads(answer.content)
    assert best["schedule"]["keep"] == told["schedule"]["keep"]
    last = searched.store.last_attempts(STUDY)[best["trial"]]
    assert told["provenance"]["created"] == f"{last.ended:%Y-%m-%dT%H:%M:%SZ}"


def test_study_without_a_result_has_no_schedule(searched):
    answer = searched.client.get(
        f"{API}/studies/{STUDY}/schedule",
        headers=searched.by("read"),
        params={"max_drop": 0, "budget": 0},
    )
    problem(answer, 409)


def test_metrics_count_trials_by_state(searched):
    text = searched.client.get("/metrics", headers=searched.by("read")).text
    complete = sum(trial.state == "COMPLETE" for trial in searched.store.trials(STUDY))
    assert f'schedsearch_trials{{state="COMPLETE",study="{STUDY}"}} {complete}.0' in text
    assert "schedsearch_workers 0.0" in text
    assert searched.client.get("/healthz").json() == {"status": "alive"}
    assert searched.client.get("/readyz").json() == {"status": "ready"}


def test_studies_stand_side_by_side_in_the_order_of_their_names(serve, tmp_path):
    (tmp_path / "store.db").write_bytes(searched_store())
    service, asked = serve(), {"study": ["other", STUDY, "other"]}
    answer = service.client.get(f"{API}/comparison", params=asked, headers=service.by("read"))
    assert answer.status_code == 200, answer.text
    other, one = answer.json()["studies"]
    assert (other["study"], one["study"], answer.json()["differ"]) == ("other", STUDY, [])
    best = StudyView(service.store, STUDY).best_trial
    assert one["best"]["number"] == best.number
    assert tuple(one["best"]["schedule"]["keep"]) == best.schedule.keep
    assert one["best"]["flops_ratio"] == best.measurement.flops_ratio
    assert one["full_passes"] == service.store.effort(STUDY).spent
    counts = [len(service.store.trials(name)) for name in (STUDY, "other")]
    assert [one["trials"], other["trials"]] == counts
    [proof] = service.store.certifications(STUDY)
    [row] = one["held_out"]
    assert (row["proven"], row["samples"]) == (True, proof.n)
    assert row["drop"]["high"] == proof.links[0].drop.high
    assert other["held_out"] == []


def test_studies_of_other_metrics_are_compared_with_a_warning(searched):
    searched.store.create_study(replace(spec("words"), metric="anls", search=SETTINGS.plain()))
    asked = {"study": [STUDY, "words"]}
    answer = searched.client.get(f"{API}/comparison", params=asked, headers=searched.by("read"))
    assert answer.json()["differ"] == ["metric"]
    assert answer.json()["studies"][1]["best"] is None


@pytest.mark.parametrize(
    ("names", "status"), [([], 422), (["none"], 404), (["waits"], 409), ([STUDY] * 9, 422)]
)
def test_studies_that_cannot_be_compared_are_refused(searched, names, status):
    searched.store.service.add_launch("waits", {}, "me", "local")
    answer = searched.client.get(
        f"{API}/comparison", params={"study": names}, headers=searched.by("read")
    )
    problem(answer, status)
