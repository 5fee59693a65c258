"""A search from a study file to a report, as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schedsearch import Schedule
from schedsearch.cli.search_display import SearchDisplay
from schedsearch.store.store import open_store
from schedsearch.store.terms import HEARTBEAT
from tests.pace import some

STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: {samples}
  held_out: demo:held-out
  held_out_samples: 24
search:
  tolerance: {tolerance}
  floor: 24
"""


def written(folder: Path, samples: int = 12, tolerance: float = 0.5) -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(samples=samples, tolerance=tolerance), encoding="utf-8")
    return path


@pytest.fixture
def study(tmp_path):
    return written(tmp_path)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "studies.db"


def test_search_list_show_export_and_report(run, study, store, tmp_path):
    ran = run("search", study, "--store", store)
    assert ran.code == 0, ran.err
    assert "of 64 vision tokens" in ran.out

    listed = json.loads(run("list", "--store", store, "--json").out)
    assert [entry["spec"]["name"] for entry in listed] == ["small"]

    rows = json.loads(run("show", "small", "--store", store, "--json").out)
    assert [row["number"] for row in rows] == list(range(len(rows)))
    assert {row["state"] for row in rows} == {"COMPLETE"}
    shown = run("show", "small", "--store", store).out
    assert "finished" in shown and "FLOPs ratio" in shown

    exported = tmp_path / "schedule.json"
    assert run("export", "small", exported, "--store", store).code == 0
    found = Schedule.load(exported)
    assert min(found.counts(64)) >= 24
    assert found.target.architecture == "LlavaForConditionalGeneration"
    applied = run("apply", "demo", exported, "-n", 4, "--repeats", 1, "--json")
    assert applied.code == 0, applied.err

    folder = tmp_path / "report"
    ran = run("report", study, "--store", store, "--out", folder)
    assert ran.code == 0, ran.err
    assert "random" in ran.out
    names = {path.name for path in folder.iterdir()}
    assert names == {"schedule.json", "report.html", "report.md", "schedule.png", "trials.csv"}
    assert Schedule.load(folder / "schedule.json") == found


def test_show_ends_with_the_last_trials_unless_all_are_asked_for(run, study, store):
    run("search", study, "--store", store, "--trials", 1)
    with open_store(store) as opened:
        before = len(opened.trials("small"))
        for number in range(30):
            opened.enqueue("small", Schedule((1.0, 1.0, *[number / 30] * 6)))
    shown = run("show", "small", "--store", store).out
    assert f"the last 20 of {before + 30} trials; --all shows every one" in shown
    assert shown.count("enqueued") == 20
    every = run("show", "small", "--all", "--store", store).out
    assert every.count("enqueued") == 30 and "--all" not in every
    assert len(json.loads(run("show", "small", "--store", store, "--json").out)) == before + 30


def test_search_again_has_nothing_left_to_do(run, study, store):
    assert run("search", study, "--store", store).code == 0
    again = json.loads(run("search", study, "--store", store, "--json").out)
    assert again["ending"] == "finished"
    assert (again["closed"], again["evaluated"]) == (0, 0)


def test_limit_says_how_to_continue(run, study, store):
    ran = run("search", study, "--store", store, "--trials", 1)
    assert ran.code == 0
    assert f"continue with: schedsearch search {study} --store {store}" in ran.err
    assert run("search", study, "--store", store).code == 0


def test_changed_study_is_refused_with_the_difference(run, study, store, tmp_path):
    run("search", study, "--store", store, "--trials", 1)
    ran = run("search", written(tmp_path, tolerance=0.25), "--store", store)
    assert ran.code == 2
    assert "search.tolerance: 0.5 -> 0.25" in ran.err


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("show", "small", "--store", "STORE"), "there is no store"),
        (("list", "--store", "STORE"), "there is no store"),
        (("db", "check", "--store", "STORE"), "there is no store"),
        (("export", "other", "--store", "MADE"), "there is no study `other`"),
        (("report", "STUDY", "--store", "MADE"), "no result yet"),
    ],
)
def test_missing_thing_is_one_error(run, study, store, tmp_path, args, expected):
    made = tmp_path / "made.db"
    with open_store(made):
        pass
    places = {"STORE": store, "MADE": made, "STUDY": study}
    ran = run(*(places.get(arg, arg) for arg in args))
    assert ran.code == 2
    assert expected in ran.err
    assert "Traceback" not in ran.err


def test_store_is_checked_pruned_and_backed_up(run, study, store, tmp_path):
    run("search", study, "--store", store, "--trials", 1)
    copy = tmp_path / "copy.db"
    assert run("db", "backup", copy, "--store", store).code == 0
    assert json.loads(run("db", "check", "--store", copy, "--json").out)["problems"] == []
    assert "already at revision" in run("db", "upgrade", "--store", copy).out
    lost = json.loads(run("db", "prune", "small", "--store", copy, "--json").out)
    assert lost["evaluation"] == 12
    assert json.loads(run("list", "--store", copy, "--json").out) == []
    assert run("db", "backup", copy, "--store", store).code == 2


def searching(study: Path, store: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from schedsearch.cli import main; main()"]
    return subprocess.Popen(
        [*command, "search", str(study), "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def wait_for_trials(store: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if store.exists():
            with open_store(store) as opened:
                if opened.studies() and len(opened.trials("small")) >= count:
                    return
        time.sleep(0.1)
    raise AssertionError("no trial in two minutes")


@pytest.mark.full
def test_second_search_is_refused_until_the_first_is_dead(run, store, tmp_path):
    study = written(tmp_path, samples=40, tolerance=0.0)
    first = searching(study, store)
    try:
        wait_for_trials(store, 1)
        second = run("search", study, "--store", store)
        assert second.code == 1
        assert f"{first.pid}" in second.err
        first.send_signal(signal.SIGKILL)
        first.wait()
        third = run("search", study, "--store", store, "--trials", 1)
        assert third.code == 0, third.err
    finally:
        first.kill()
        first.communicate()


def test_interrupted_search_leaves_cleanly_and_says_how_to_continue(run, store, tmp_path):
    study = written(tmp_path, samples=40, tolerance=0.0)
    child = searching(study, store)
    try:
        wait_for_trials(store, 2)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 130, err
    assert "continue with: schedsearch search" in err
    assert "Traceback" not in err
    assert run("search", study, "--store", store, "--trials", 1).code == 0


def test_search_whose_store_is_deleted_names_the_rescue(run, study, store, monkeypatch):
    def delete(_display, _study, _trial) -> None:
        store.unlink()

    monkeypatch.setattr(SearchDisplay, "closed", delete)
    ran = run("search", study, "--store", store)
    monkeypatch.undo()
    assert ran.code == 1
    assert ran.err.count("error:") == 1
    assert "Traceback" not in ran.err
    (rescue,) = store.parent.glob("studies.rescue-*.db")
    assert f"{store} was deleted or moved while it was in use" in ran.err
    assert f"is in {rescue}: run again with that file as the store to continue" in ran.err
    assert run("search", study, "--store", rescue).code == 0


@pytest.mark.parametrize(
    ("wish", "ending"), some([("pause", "paused"), ("stop", "stopped")], [("stop", "stopped")])
)
def test_search_that_is_asked_to_end_says_how_to_continue(
    run, study, store, monkeypatch, wish, ending
):
    def ask(_display, _study, _trial) -> None:
        with open_store(store) as opened:
            opened.wish("small", wish)

    with monkeypatch.context() as patch:
        patch.setenv(HEARTBEAT, "1e-9")
        patch.setattr(SearchDisplay, "closed", ask)
        ran = run("search", study, "--store", store)
    assert ran.code == 0
    assert f"{ending}; continue with: schedsearch search {study} --store {store}" in ran.err
    assert "nobody searches small" in run("watch", "small", "--store", store).out
    assert run(wish, "small", "--store", store).out.startswith("nobody searches small")
    ran = run("search", study, "--store", store)
    assert (ran.code, "continue with" in ran.err) == (0, False)


@pytest.mark.parametrize("target", some(["-", "/proc/self/fd/1"], ["/proc/self/fd/1"]))
def test_backup_to_standard_output_is_the_store_alone(store, tmp_path, target):
    open_store(store).close()
    command = "from schedsearch.cli import main; main()"
    arguments = [sys.executable, "-c", command, "db", "backup", target, "--store", store]
    ran = subprocess.run(arguments, capture_output=True, check=True)
    copy = tmp_path / "copy.db"
    copy.write_bytes(ran.stdout)
    with open_store(copy, create=False) as opened:
        assert opened.check().problems == ()
    refused = subprocess.run([*arguments, "--json"], capture_output=True, check=False)
    assert refused.returncode == 2
    assert refused.stdout == b""
    assert b"takes standard output, which --json needs too" in refused.stderr


def test_backup_replaces_a_file_only_when_forced(run, store, tmp_path):
    open_store(store).close()
    taken = tmp_path / "notes.txt"
    taken.write_text("mine")
    assert run("db", "backup", taken, "--store", store).code == 2
    assert taken.read_text() == "mine"
    assert run("db", "backup", taken, "--store", store, "--force").code == 0
    assert run("db", "check", "--store", taken).code == 0
    assert run("db", "backup", store, "--store", store, "--force").code == 2
    assert run("db", "check", "--store", store).code == 0


def test_commands_that_read_make_nothing(run, store, tmp_path):
    store.touch()
    for command in (
        ("list",),
        ("show", "s"),
        ("export", "s"),
        ("db", "check"),
        ("db", "backup", "c"),
    ):
        ran = run(*command, "--store", store)
        assert ran.code == 2
        assert "is empty, there is no store in it" in ran.err
    assert store.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [store]
