"""Coordinators whose lease lapses while they are frozen, slow, or cannot reach the store."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from schedsearch.core.trial import TrialState
from schedsearch.errors import RunError
from schedsearch.store import Store, open_store
from schedsearch.store import lease as leases
from schedsearch.store.address import url_of
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.process import Process
from schedsearch.store.terms import HEARTBEAT, LEASE
from tests.postgres import new_database
from tests.unit.execution.children import (
    PATIENCE,
    Halting,
    child,
    pipe,
    search_and_tell,
    search_as_a_command,
    wait_for,
)
from tests.unit.execution.synthetic import (
    FULL,
    STUDY,
    SUBJECT,
    Place,
    evaluate,
    evaluations,
    new_place,
    spec,
    uninterrupted,
)

MIDDLE = 8  # a task of the fourth trial
LASTS = 1.0
NODE7 = Process("node7", 4711)


@dataclass(frozen=True)
class ServerPlace(Place):
    """A folder whose store is on a server."""

    url: str = ""

    def store(self) -> Store:
        return open_store(self.url)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path, monkeypatch):
    monkeypatch.setenv(HEARTBEAT, "0.2")
    monkeypatch.setenv(LEASE, str(LASTS))
    if request.param == "sqlite":
        return new_place(tmp_path)
    return ServerPlace(tmp_path, new_database(request.getfixturevalue("postgresql")))


only_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("place", ["postgresql"], indirect=True)


def until(found: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def freeze(pid: int, place: Place) -> bool:
    """Stop a process unless it is writing: its locks would stay, and nobody else could write."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: stands_still(pid))  # a thread may go on for a moment, and take the lock
    if isinstance(place, ServerPlace):
        engine, lock = create_engine(url_of(place.url)), "SELECT id FROM study FOR UPDATE NOWAIT"
    else:
        engine = create_engine(url_of(place.database), connect_args={"timeout": 0})
        lock = "BEGIN IMMEDIATE"
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(lock)
    except OperationalError:
        os.kill(pid, signal.SIGCONT)
        return False
    finally:
        engine.dispose()
    return True


def stands_still(pid: int) -> bool:
    """Whether all threads of a process are stopped."""
    # The second field is the thread's name in parentheses: man 5 proc.
    stats = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def lapsed(place: Place) -> bool:
    with place.store() as store:
        return store.study(STUDY).left == 0


def held_elsewhere(place: Place) -> leases.Lease:
    """The lease of a process on another host."""
    with place.store() as store, pytest.MonkeyPatch.context() as patch:
        store.create_study(spec())
        patch.setattr(Process, "current", lambda: NODE7)
        return store.acquire(STUDY)


def test_search_is_taken_over_from_another_host_once_its_lease_has_lapsed(place):
    with place.store() as store:
        old = held_elsewhere(place)
        with pytest.raises(
            RunError, match="by process 4711 on node7 since .* its lease is valid for 1 s yet"
        ):
            store.acquire(STUDY)
        store.start_attempt(old, store.open_trial(old, {}, FULL).number)
        until(lambda: lapsed(place))

        assert place.search().ending == "finished"

        assert store.trials(STUDY)[0].state == TrialState.COMPLETE
        with pytest.raises(LeaseLostError):
            store.beat(old, None)


def test_of_two_that_take_over_at_once_one_does(place, monkeypatch):
    held_elsewhere(place)
    until(lambda: lapsed(place))
    monkeypatch.delenv(LEASE)
    with ExitStack() as started:
        answers = []
        for _ in range(2):
            told, answer = pipe()
            # The winner halts in its first task, so that it is there as long as the other tries.
            options = {"inner": Halting(1, place.folder)}
            started.enter_context(child(search_and_tell, place, answer, options))
            answers.append(told)
        until(lambda: any(one.poll() for one in answers))
        loser = next(one for one in answers if one.poll())
        (winner,) = (one for one in answers if one is not loser)

        refusal = loser.recv()
        (place.folder / "go").touch()
        assert winner.poll(PATIENCE)
        assert winner.recv() == "finished"

    assert refusal.startswith(f"RunError: study `{STUDY}` is being searched by process")
    assert place.trials() == uninterrupted()


def test_coordinator_that_was_frozen_for_longer_than_its_lease_leaves_the_trial_to_the_next(place):
    said = place.folder / "said"
    with ExitStack() as started:
        options = {"inner": Halting(MIDDLE, place.folder)}
        frozen = started.enter_context(child(search_as_a_command, place, said, options))
        wait_for(place.folder / f"reached-{frozen.pid}")
        until(lambda: freeze(frozen.pid, place))
        until(lambda: lapsed(place))

        assert place.search().ending == "finished"
        with place.store() as store:
            attempts = [store.attempts(STUDY, trial.number) for trial in uninterrupted()]
        os.kill(frozen.pid, signal.SIGCONT)
        frozen.join(PATIENCE)

        assert frozen.exitcode == 1
    message = " ".join(said.read_text().split())
    assert message.startswith(f"error: this process has lost the lease of study `{STUDY}`")
    assert message.count("lease") == 1 and "Traceback" not in message
    assert place.trials() == uninterrupted()
    with place.store() as store:
        assert [store.attempts(STUDY, trial.number) for trial in uninterrupted()] == attempts
        assert Counter(map(len, attempts)) == {1: len(attempts) - 1, 2: 1}
        assert store.check().problems == ()
    # The task in flight alone was evaluated twice.
    different = evaluations(uninterrupted())
    assert len(place.evaluated) <= different + len(SUBJECT.ids)


@only_sqlite
@pytest.mark.parametrize("taken", [True, False])
def test_coordinator_that_cannot_reach_the_store_asks_whether_it_was_replaced(
    place, monkeypatch, taken
):
    beat, ended = Store.beat, []

    def unreachable(store, held, progress):
        if not ended:
            raise RunError("the server is gone")
        return beat(store, held, progress)

    def wait_and_evaluate(task):
        if not ended:
            until(lambda: lapsed(place))
            if taken:
                held_elsewhere(place)
            ended.append(True)
        return evaluate(task)

    monkeypatch.setattr(Store, "beat", unreachable)
    if not taken:
        assert place.search(inner=wait_and_evaluate).ending == "finished"
        assert place.trials() == uninterrupted()
        return
    with pytest.raises(LeaseLostError, match="which process 4711 on node7 has now"):
        place.search(inner=wait_and_evaluate)
    assert [trial.state for trial in place.trials()] == [TrialState.RUNNING]
    with place.store() as store:
        assert [one.ended for one in store.attempts(STUDY, 0)] == [None]


@only_sqlite
def test_late_result_of_a_replaced_coordinator_fills_the_cache_and_nothing_else(place):
    told: list[BaseException] = []

    def replaced_meanwhile(task):
        with place.store() as store:
            store.free(STUDY)
            held_elsewhere(place)
        time.sleep(0.5)  # a heartbeat has told it
        return evaluate(task)

    def search():
        try:
            place.search(inner=replaced_meanwhile)
        except RunError as error:
            told.append(error)

    # Out of the main thread the task cannot be interrupted, and its result comes late.
    thread = threading.Thread(target=search)
    thread.start()
    thread.join()

    assert isinstance(told[0], LeaseLostError)
    with place.store() as store:
        rows = store.check().rows
        assert rows["evaluation"] == len({one.content for one in place.evaluated}) > 0
        assert [trial.state for trial in store.trials(STUDY)] == [TrialState.RUNNING]
        assert [one.ended for one in store.attempts(STUDY, 0)] == [None]
        assert store.study(STUDY).holder == NODE7
    # What was found is not evaluated again.
    found = {one.content for one in place.evaluated}
    with place.store() as store:
        store.free(STUDY)
    place.search()
    assert place.trials() == uninterrupted()
    keep_all = Counter(one.content for one in place.evaluated if one.ranker == "none")
    assert {keep_all[content] for content in found} == {1}


@only_sqlite
def test_lease_stays_valid_while_a_callback_takes_longer_than_it_lasts(place):
    seen = []

    def slow(_trial):
        if not seen:
            time.sleep(1.5 * LASTS)
        with place.store() as store:
            seen.append(store.study(STUDY).left)

    place.search(on_trial=[slow])
    assert min(seen) > 0


def frozen_in_a_transaction(place: Place, lease: leases.Lease) -> None:
    """Stop while the study is locked."""
    with place.store() as store, store._database.writing() as connection:
        leases.check(connection, lease)
        (place.folder / "locked").touch()
        os.kill(os.getpid(), signal.SIGSTOP)


@only_postgresql
def test_process_that_froze_in_a_transaction_holds_nobody_up_for_longer_than_a_lease(place):
    lease = held_elsewhere(place)
    with child(frozen_in_a_transaction, place, lease):
        wait_for(place.folder / "locked")
        until(lambda: lapsed(place))
        began = time.monotonic()
        assert place.search().ending == "finished"
        assert time.monotonic() - began < PATIENCE
    assert place.trials() == uninterrupted()


@only_postgresql
def test_no_transaction_is_open_while_a_task_is_at_work(place):
    place = replace(place, url=f"{place.url}&application_name=watched")  # others use the server too
    open_ones = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'watched' AND state LIKE 'idle in transaction%'"
    )
    engine, found = create_engine(url_of(place.url)), set()

    def look(task):
        with engine.connect() as connection:
            until(lambda: connection.execute(open_ones).scalar_one() == 0)
            found.add(True)
        return evaluate(task)

    place.search(inner=look)
    engine.dispose()
    assert found == {True}
