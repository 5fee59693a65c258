"""One process searches; others follow it, pause it, stop it."""

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from schedsearch.core.trial import TrialState
from schedsearch.errors import RunError
from schedsearch.store import Store
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.terms import HEARTBEAT
from tests.pace import some
from tests.unit.execution.children import (
    PATIENCE,
    Halting,
    child,
    pipe,
    search_with_a_quick_heart,
    wait_for,
)
from tests.unit.execution.synthetic import (
    CHUNK,
    DIFFERENT,
    SEARCH,
    STUDY,
    evaluate,
    new_place,
    spec,
    uninterrupted,
)

HALTED = 8
"""The task that halts: the second of the fourth trial."""


@pytest.fixture
def place(tmp_path):
    return new_place(tmp_path)


def until(found: Callable[[], object]) -> object:
    """What is found, once it is."""
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def assert_next_run_finishes(place) -> None:
    with place.store() as store:
        assert store.study(STUDY).holder is None
        assert (store.check().problems, store.check().notes) == ((), ())
    assert place.search().ending == "finished"
    assert place.trials() == uninterrupted()
    with place.store() as store:
        assert store.study(STUDY).wish == "run"


def halted(place):
    """A search in another process that halts in a task, and what it tells in the end."""
    told, answer = pipe()
    options = {"inner": Halting(HALTED, place.folder)}
    return told, child(search_with_a_quick_heart, place, answer, options)


def where(progress):
    return progress.trial, progress.done, progress.samples


def test_others_see_where_a_search_stands_while_its_task_lasts(place):
    told, process = halted(place)
    with process as running, place.store() as store:
        wait_for(place.folder / f"reached-{running.pid}")
        seen = until(lambda: (one := store.study(STUDY)).progress and one)
        at = (3, CHUNK, DIFFERENT)
        seen = until(lambda: where((one := store.study(STUDY)).progress) == at and one)
        progress = seen.progress
        assert progress.closed == seen.trials[TrialState.COMPLETE] == 3
        assert progress.evaluated == 3 * DIFFERENT + CHUNK
        assert progress.best_flops_ratio == uninterrupted()[0].measurement.flops_ratio
        assert progress.pace == progress.evaluated / progress.seconds > 0
        assert seen.holder.pid == running.pid
        assert 0 <= seen.silence < 30
        until(lambda: store.study(STUDY).beat > seen.beat)
        (place.folder / "go").touch()
        assert told.poll(PATIENCE)
        assert told.recv() == "finished"
    assert place.trials() == uninterrupted()


def test_stop_ends_the_task_at_work(place):
    told, process = halted(place)
    with process as running, place.store() as store:
        wait_for(place.folder / f"reached-{running.pid}")
        assert store.wish(STUDY, "stop").pid == running.pid
        assert told.poll(PATIENCE)
        assert told.recv() == "stopped"
    assert [trial.state for trial in place.trials()] == [*3 * [TrialState.COMPLETE], "WAITING"]
    assert_next_run_finishes(place)


def test_pause_lets_the_trial_at_work_finish_and_begins_no_other(place):
    told, process = halted(place)
    with process as running, place.store() as store:
        wait_for(place.folder / f"reached-{running.pid}")
        store.wish(STUDY, "pause")
        asked = store.study(STUDY).beat
        until(lambda: store.study(STUDY).beat > asked)
        (place.folder / "go").touch()
        assert told.poll(PATIENCE)
        assert told.recv() == "paused"
    assert [trial.state for trial in place.trials()] == [*4 * [TrialState.COMPLETE], "WAITING"]
    assert_next_run_finishes(place)


EVERY = [(wish, questions) for wish in ("pause", "stop") for questions in (1, 3)]


@pytest.mark.parametrize(("wish", "questions"), some(EVERY, [EVERY[0], EVERY[3]]))
def test_wishes_at_any_task_change_no_trial(tmp_path, monkeypatch, wish, questions):
    monkeypatch.setenv(HEARTBEAT, "1e-9")
    sampler = replace(SEARCH, concurrent_trials=questions)
    whole = new_place(tmp_path / "whole")
    whole.search(sampler)
    for wished in (1, 2, 5, 12):
        place, tasks = new_place(tmp_path / f"{wished}"), []

        def evaluate_and_wish(task, place=place, tasks=tasks, wished=wished):
            tasks.append(task)
            if len(tasks) == wished:
                with place.store() as store:
                    store.wish(STUDY, wish)
            return evaluate(task)

        ending = {"pause": "paused", "stop": "stopped"}[wish]
        assert place.search(sampler, evaluate_and_wish).ending == ending
        assert not any(trial.state == "RUNNING" for trial in place.trials())
        assert place.search(sampler).ending == "finished"
        assert place.trials() == whole.trials()


def test_stop_outside_the_main_thread_keeps_what_the_task_found(place, monkeypatch, caplog):
    monkeypatch.setenv(HEARTBEAT, "0.01")
    caplog.set_level(logging.INFO, logger="schedsearch")
    runs = []

    def wish_and_wait(task):
        with place.store() as store:
            if store.study(STUDY).progress and store.study(STUDY).progress.trial == 2:
                store.wish(STUDY, "stop")
                until(lambda: "the work at hand ends" in caplog.text)  # no beat comes after it
        return evaluate(task)

    thread = threading.Thread(target=lambda: runs.append(place.search(inner=wish_and_wait)))
    thread.start()
    thread.join()
    assert runs[0].ending == "stopped"
    assert runs[0].evaluated == len(place.evaluated)
    assert_next_run_finishes(place)
    assert len({line[2:] for line in place.evaluated}) == len(place.evaluated)


def test_progress_that_cannot_be_written_is_logged_and_ends_nothing(place, monkeypatch, caplog):
    monkeypatch.setenv(HEARTBEAT, "1e-9")

    def full(*_args):
        raise RunError("no space is left")

    monkeypatch.setattr(Store, "beat", full)
    with caplog.at_level(logging.WARNING):
        assert place.search().ending == "finished"
    assert place.trials() == uninterrupted()
    assert caplog.text.count("cannot see the progress of this search: no space is left") == 1


def test_lost_lease_ends_the_task_at_work(place, monkeypatch):
    monkeypatch.setenv(HEARTBEAT, "0.05")

    def free_and_stay(task):
        with place.store() as store:
            store.free(STUDY)
        time.sleep(PATIENCE)
        return evaluate(task)

    began = time.monotonic()
    with pytest.raises(LeaseLostError, match="lost the lease"):
        place.search(inner=free_and_stay)
    assert time.monotonic() - began < PATIENCE / 2


def test_store_is_told_once_a_period_and_between_short_trials_too(place, monkeypatch):
    monkeypatch.setenv(HEARTBEAT, "0.1")
    beats, beat = [], Store.beat

    def counted(store, *args):
        beats.append(time.monotonic())
        return beat(store, *args)

    monkeypatch.setattr(Store, "beat", counted)
    began = time.monotonic()

    def slow(task):
        time.sleep(0.01)
        return evaluate(task)

    place.search(inner=slow)
    *beats, _end = beats
    assert 1 <= len(beats) <= (time.monotonic() - began) / 0.1 + 1
    assert all(b - a > 0.09 for a, b in zip(beats, beats[1:], strict=False))


# The commands


def command(place, *args: str) -> list[str]:
    program = "from schedsearch.cli import main; main()"
    return [sys.executable, "-c", program, *args, "--store", str(place.database)]


def said(place, *args: str) -> tuple[int, str, str]:
    ran = subprocess.run(
        command(place, *args), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return ran.returncode, ran.stdout, ran.stderr


def watching(place, *args: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(place, "watch", STUDY, *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_watch_tells_each_trial_and_the_end(place):
    told, process = halted(place)
    with process as running:
        wait_for(place.folder / f"reached-{running.pid}")
        with watching(place, "--json") as states, watching(place) as watcher:
            first = json.loads(states.stdout.readline())
            assert first["holder"]["pid"] == running.pid
            code, line, _ = said(place, "watch", STUDY, "--once")
            assert (code, line.count("\n")) == (0, 1)
            assert f"{STUDY}: trial 4" in line and f"searched by process {running.pid}" in line
            time.sleep(1.0)  # until the watcher has looked
            (place.folder / "go").touch()
            out, err = watcher.communicate(timeout=PATIENCE)
            *_, last = map(json.loads, states.communicate(timeout=PATIENCE)[0].splitlines())
        assert told.recv() == "finished"
    assert (watcher.returncode, err) == (0, "")
    lines = out.splitlines()
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == list(range(3, len(uninterrupted())))
    assert lines[-1] == f"the search of {STUDY} has ended"
    assert last["holder"] is None


def test_watch_says_that_the_coordinator_was_killed(place):
    _, process = halted(place)
    with process as running:
        wait_for(place.folder / f"reached-{running.pid}")
        with watching(place, "--json") as watcher:
            assert json.loads(watcher.stdout.readline())["holder"]["pid"] == running.pid
            os.kill(running.pid, signal.SIGKILL)
            _, err = watcher.communicate(timeout=PATIENCE)
        assert watcher.returncode == 1
        assert f"process {running.pid} on" in err and "is gone; search again" in err
        code, out, err = said(place, "stop", STUDY)
        assert (code, out) == (0, f"nobody searches {STUDY}; there is nothing to stop\n"), err
    assert place.search().ending == "finished"
    assert place.trials() == uninterrupted()


@pytest.mark.parametrize(
    ("wish", "ending"), some([("pause", "paused"), ("stop", "stopped")], [("pause", "paused")])
)
def test_commands_pause_and_stop_a_search(place, wish, ending):
    told, process = halted(place)
    with process as running, place.store() as store:
        wait_for(place.folder / f"reached-{running.pid}")
        code, out, err = said(place, wish, STUDY)
        assert (code, err) == (0, "")
        assert out.startswith(f"process {running.pid} on") and f"is asked to {wish}" in out
        if wish == "pause":
            seen = store.study(STUDY).beat
            until(lambda: store.study(STUDY).beat > seen)
            (place.folder / "go").touch()
        assert told.poll(PATIENCE)
        assert told.recv() == ending
    code, out, _ = said(place, "watch", STUDY)
    assert (code, out) == (0, f"nobody searches {STUDY}\n")
    assert_next_run_finishes(place)


def test_watch_says_that_the_coordinator_gives_no_sign(place):
    with place.store() as store:
        store.create_study(spec())
        store.acquire(STUDY)
        code, out, _ = said(place, "watch", STUDY, "--once")
        assert code == 0 and f"{STUDY}: the search begins; searched by process" in out
        with sqlite3.connect(place.database) as connection:
            connection.execute("UPDATE study SET beat = '2026-01-01 00:00:00.000000'")
        connection.close()
        code, out, err = said(place, "watch", STUDY)
    assert (code, out) == (1, "")
    assert f"which searches `{STUDY}`, gave no sign for" in err
    with place.store() as store:
        assert store.wish(STUDY, "stop").pid == os.getpid()
    (listed,) = json.loads(said(place, "list", "--json")[1])
    assert listed["wish"] == "stop"
    assert listed["silence"] > 30


def test_last_sign_of_a_search_tells_its_result(place):
    found = place.search()
    with place.store() as store:
        told = store.study(STUDY).progress
    assert found.best is not None
    assert told is not None
    assert told.best_flops_ratio == found.best.measurement.flops_ratio
    assert (told.phase, told.trials_left, told.closed) == ("finished", 0, found.closed)
