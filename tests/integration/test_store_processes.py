"""Several processes work on one store at once."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.errors import RunError, SchedsearchError
from schedsearch.store import Evaluation, open_store
from tests.postgres import new_database
from tests.unit.store.strategies import FULL, HALF, SPEC, complete

processes = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
STUDY = SPEC.name


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def study(url):
    with open_store(url) as store:
        store.create_study(SPEC)
    return url


@pytest.fixture
def start():
    """Starts a function in a process of its own; whatever is left of them is killed."""
    started = []

    def begin(work: Callable[..., object], *args: object) -> tuple[Any, Connection]:
        here, there = processes.Pipe()
        child = processes.Process(target=report, args=(work, there, *args))
        child.start()
        started.append(child)
        return child, here

    yield begin
    for child in started:
        child.kill()
        child.join()


def report(work: Callable[..., object], parent: Connection, *args: object) -> None:
    """Send what `work` returns, or the error of ours that it raises."""
    try:
        parent.send(work(parent, *args))
    except SchedsearchError as error:
        parent.send(error)


def answers(pipes: list[Connection]) -> list[Any]:
    """Let all of them go at the same time, and wait for each."""
    for pipe in pipes:
        assert pipe.recv() == "ready"
    for pipe in pipes:
        pipe.send("go")
    return [pipe.recv() for pipe in pipes]


def wait(parent: Connection) -> None:
    parent.send("ready")
    assert parent.recv() == "go"


def create(parent: Connection, url: str) -> bool:
    wait(parent)
    with open_store(url) as store:
        return store.create_study(SPEC)


def test_store_and_study_are_created_once_by_processes_that_start_together(url, start):
    created = answers([start(create, url)[1] for _ in range(4)])
    assert sorted(created) == [False, False, False, True]
    with open_store(url) as store:
        assert store.spec(STUDY) == SPEC
        assert store.check().problems == ()


def evaluations(first: int, last: int) -> dict[tuple[str, tuple[int, ...]], Evaluation]:
    return {
        (f"sample {i}", (16, 16, 4 + i % 5)): Evaluation(i / 7, f"{i}") for i in range(first, last)
    }


def add(parent: Connection, url: str, ranges: list[tuple[int, int]]) -> int:
    with open_store(url) as store:
        context = store.context_id(STUDY, "c0ffee", {})
        wait(parent)
        return sum(store.add_scores(context, evaluations(*chunk)) for chunk in ranges)


def test_scores_written_by_two_processes_at_once_are_all_there_once(study, start):
    up = [(first, first + 40) for first in range(0, 400, 20)]
    added = answers([start(add, study, ranges)[1] for ranges in (up, up[::-1])])
    assert sum(added) == 420
    with open_store(study) as store:
        context = store.context_id(STUDY, "c0ffee", {})
        assert store.scores(context, evaluations(0, 500)) == evaluations(0, 420)
        assert store.check().rows["evaluation"] == 420
        assert store.check().problems == ()


def test_processes_that_add_the_same_samples_do_not_wait_for_each_other_in_a_circle(study, start):
    with open_store(study) as store:
        # The same counts as below: adding new ones would let the processes in one by one.
        store.add_scores(store.context_id(STUDY, "decaf", {}), evaluations(0, 5))
    chunks = ([(0, 3000)], [(0, 700), (700, 3000)], [(2500, 3000), (0, 2500)])
    added = answers([start(add, study, ranges)[1] for ranges in chunks])
    assert sum(added) == 3000


def enqueue(parent: Connection, url: str, owner: int) -> list[int]:
    schedules = [Schedule((1.0, 0.5, owner / 8, k / 160)) for k in range(10)]
    with open_store(url) as store:
        wait(parent)
        return [store.enqueue(STUDY, schedule).number for schedule in schedules]


def test_trials_enqueued_by_processes_at_once_have_consecutive_numbers(study, start):
    numbers = answers([start(enqueue, study, owner)[1] for owner in (1, 2, 3)])
    assert sorted(sum(numbers, [])) == list(range(30))
    assert all(own == sorted(own) for own in numbers)


def coordinate(parent: Connection, url: str) -> int:
    """Take the lease, begin a trial, and end it when told to."""
    with open_store(url) as store:
        wait(parent)
        with store.lease(STUDY) as lease:
            trial = store.open_trial(lease, {}, HALF)
            attempt = store.start_attempt(lease, trial.number)
            parent.send(lease.token)
            assert parent.recv() == "go on"
            store.close_trial(lease, complete(trial), attempt)
        return os.getpid()


def test_of_processes_that_start_together_one_coordinates(study, start):
    started = [start(coordinate, study) for _ in range(4)]
    first = answers([pipe for _, pipe in started])
    holder = next(child.pid for (child, _), a in zip(started, first, strict=True) if a == 1)
    refused = [answer for answer in first if answer != 1]
    assert len(refused) == 3
    for error in refused:
        assert isinstance(error, RunError)
        assert f"study `demo` is being searched by process {holder} on " in str(error)


def test_lease_of_a_killed_coordinator_is_free(study, start):
    child, pipe = start(coordinate, study)
    assert answers([pipe]) == [1]
    with open_store(study) as store:
        with pytest.raises(RunError, match=f"is being searched by process {child.pid} on"):
            store.acquire(STUDY)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        notes = store.check().notes
        assert notes == ("1 trial(s) of study `demo` were interrupted; the next run takes them up",)
        with store.lease(STUDY) as lease:
            assert lease.token == 2
            assert store.start_attempt(lease, 0) == 2


def test_coordinator_that_was_replaced_while_it_hung_writes_nothing(study, start):
    child, pipe = start(coordinate, study)
    assert answers([pipe]) == [1]
    os.kill(child.pid, signal.SIGSTOP)
    with open_store(study) as store:
        with pytest.raises(RunError, match="is being searched"):
            store.acquire(STUDY)
        assert store.free(STUDY).pid == child.pid
        with store.lease(STUDY) as lease:
            attempt = store.start_attempt(lease, 0)
            os.kill(child.pid, signal.SIGCONT)
            pipe.send("go on")
            error = pipe.recv()
            assert isinstance(error, RunError)
            assert f"lost the lease of study `demo`, which process {os.getpid()} on" in str(error)
            assert [item.ended is None for item in store.attempts(STUDY, 0)] == [False, True]
            assert store.close_trial(lease, complete(store.trials(STUDY)[0]), attempt)
        assert store.studies()[0].holder is None


def test_backup_of_a_store_that_is_being_written_holds_whole_transactions(tmp_path, start):
    url, copy = str(tmp_path / "runs.db"), tmp_path / "copy.db"
    with open_store(url) as store:
        store.create_study(SPEC)
        _, pipe = start(add, url, [(n, n + 10) for n in range(0, 2000, 10)])
        assert pipe.recv() == "ready"
        pipe.send("go")
        while store.check().rows["evaluation"] < 100:
            pass
        store.backup(copy)
        assert pipe.recv() == 2000
    assert [file.name for file in tmp_path.glob("copy*")] == ["copy.db"]
    with open_store(copy, create=False) as store:
        report = store.check()
        assert report.problems == ()
        written = report.rows["evaluation"]
        assert written >= 100
        assert written % 10 == 0
        context = store.context_id(STUDY, "c0ffee", {})
        assert store.scores(context, evaluations(0, 2000)) == evaluations(0, written)
        assert store.enqueue(STUDY, FULL).number == 0
