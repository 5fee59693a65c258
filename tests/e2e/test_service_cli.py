"""A service, and the command line that asks it, as users type them."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedsearch import Schedule
from schedsearch.app.tokens import create_token
from schedsearch.store.store import open_store
from tests.archives import demo_set
from tests.e2e.children import PROGRAM

STUDY = """
study: small
model: demo
data: {calibration: demo:calibration, calibration_samples: 12}
search: {tolerance: 1, floor: 60, first: 7}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a service that is a process of its own; its token is in the environment."""
    store = tmp_path / "store.db"
    with open_store(store) as opened:
        token = create_token(opened.service, "me", "launch", None).text
    monkeypatch.setenv("SCHEDSEARCH_TOKEN", token)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--store", store, "--port", "0"],
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "500"},
    )
    with child:
        assert select.select([child.stderr], [], [], 60)[0]
        said = child.stderr.readline().decode()
        yield re.search(r"http://\S+", said).group()
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) in (0, -signal.SIGTERM)


def test_search_at_a_service_is_followed_shown_and_exported(run, url, study, tmp_path, monkeypatch):
    for name, content in demo_set(12).items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    own = STUDY.replace("demo:calibration", "mine/samples.jsonl")
    study.write_text(own)
    ran = run("search", study, "--server", url)
    assert ran.code == 0, ran.err
    assert "FLOPs ratio" in ran.out and "What it loses is not known" in ran.out

    ran = run("search", study, "--server", url, "--json")
    assert ran.code == 0, ran.err
    again = json.loads(ran.out)
    assert (again["study"], again["ending"]) == ("small", "finished")
    study.write_text(own.replace("tolerance: 1", "tolerance: 0.5"))
    other = run("search", study, "--server", url)
    assert other.code == 2 and "with other content" in other.err

    monkeypatch.setenv("SCHEDSEARCH_SERVER", url)
    assert "ended" in run("list").out
    assert [one["state"] for one in json.loads(run("list", "--json").out)] == ["ended"]
    here = ("--store", tmp_path / "store.db")
    shown = run("show", "small").out
    assert f"trial {again['best']['trial']}: FLOPs ratio" in shown
    assert run("show", "small", "--json").out == run("show", "small", "--json", *here).out
    assert run("watch", "small").out == run("watch", "small", "--once").out
    told = run("watch", "small", "--json").out.splitlines()
    assert [json.loads(line)["ending"] for line in told] == ["finished"]
    assert "nobody searches small; there is nothing to stop" in run("stop", "small").out

    files = tmp_path / "remote.json", tmp_path / "local.json"
    remote = run("export", "small", files[0], "--json")
    local = run("export", "small", files[1], *here, "--json")
    assert json.loads(remote.out) | {"schedule": ""} == json.loads(local.out) | {"schedule": ""}
    told = [json.loads(file.read_text()) for file in files]
    for one in told:
        del one["provenance"]["created"]  # the moment of the export
    assert told[0] == told[1]
    monkeypatch.delenv("SCHEDSEARCH_SERVER")
    assert min(Schedule.load(files[0]).counts(64)) >= 60
    applied = run("apply", "demo", files[0], "-n", 4, "--repeats", 1, "--json")
    assert applied.code == 0, applied.err


@pytest.mark.full
def test_interrupted_search_goes_on_at_the_service(run, url, study, tmp_path):
    study.write_text(STUDY.replace("12", "60").replace("floor: 60", "floor: 0"))
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "search", study, "--server", url],
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "500"},
    )
    with child:
        assert any(b"trial 0" in line for line in child.stderr)
        child.send_signal(signal.SIGINT)
        said = child.stderr.read().decode()
    assert child.returncode == 130
    assert f"schedsearch watch small --server {url}" in said
    with open_store(tmp_path / "store.db") as store:
        holder = store.study("small").holder
    assert holder is not None and holder.runs()
    ran = run("resume", "small", "--server", url, "--detach")  # what goes on stays as it is
    assert f"searched by {holder}" in ran.out, ran.err
    os.kill(holder.pid, signal.SIGKILL)


@pytest.mark.full
def test_search_that_a_service_has_ended_is_resumed(run, url, study):
    assert run("search", study, "--server", url).code == 0
    shown = run("show", "small", "--server", url).out
    ran = run("resume", "small", "--server", url)
    assert "the search of small has ended" in ran.out, ran.err
    assert run("show", "small", "--server", url).out == shown


def test_store_and_service_exclude_each_other(run, tmp_path, monkeypatch):
    ran = run("list", "--store", tmp_path / "store.db", "--server", "http://localhost:1")
    assert ran.code == 2 and "exclude each other" in ran.err
    monkeypatch.setenv("SCHEDSEARCH_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("SCHEDSEARCH_SERVER", "http://localhost:1")
    ran = run("list")
    assert ran.code == 2 and "are both set" in ran.err
    with open_store(tmp_path / "other.db"):
        pass
    assert run("list", "--store", tmp_path / "other.db").code == 0
    ran = run("list", "--server", "http://localhost:2")
    assert ran.code == 1 and "localhost:2: the service cannot be reached" in ran.err


def test_options_of_this_process_are_not_for_a_service(run, study):
    ran = run("search", study, "--server", "http://localhost:1", "--trials", 3)
    assert ran.code == 2 and "`--trials`" in ran.err


def test_token_is_no_option(run):
    for command in ("search", "list", "show", "export", "watch", "pause", "stop", "resume"):
        assert "--token" not in run(command, "--help").out
