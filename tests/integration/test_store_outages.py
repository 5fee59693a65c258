"""A PostgreSQL server fails while a search runs: nothing is lost and nothing is stored twice."""

import os
import signal
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from schedsearch.errors import RunError
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.store import open_store
from schedsearch.store.failures import meaning
from tests.integration.test_store_faults import contents, results
from tests.integration.test_store_faults import search as short_search
from tests.postgres import new_database, server
from tests.proxy import proxied
from tests.unit.execution.synthetic import (
    CHUNK,
    SEARCH,
    STUDY,
    SUBJECT,
    Recorded,
    evaluate,
    local,
    spec,
    uninterrupted,
)
from tests.unit.store.strategies import FULL, HALF, SPEC


@pytest.fixture
def url(postgresql):
    return new_database(postgresql)


@pytest.fixture
def proxy(postgresql_server):
    with proxied(postgresql_server.folder) as made:
        yield made


def through(url: str, proxy, server) -> str:
    return url.replace(f"host={server.folder}", f"host={proxy.folder}")


def search(url: str, inner=evaluate, patience: float = 60.0, log: Path | None = None):
    with open_store(url, patience=patience) as store:
        store.create_study(spec())
        executor = local(Recorded(log, inner) if log else inner)
        return run_study(STUDY, SEARCH, Scoring(STUDY, SUBJECT, store, executor, CHUNK), store)


def assert_whole(url: str, log: Path) -> None:
    """The search is what it is without a fault, and no sample was evaluated twice."""
    with open_store(url) as store:
        assert store.trials(STUDY) == uninterrupted()
        report = store.check()
        assert report.problems == report.notes == ()
        assert all(len(store.attempts(STUDY, one.number)) == 1 for one in store.trials(STUDY))
    lines = [line.split(";", 2)[2] for line in log.read_text().splitlines()]
    assert max(Counter(lines).values()) == 1
    assert report.rows["evaluation"] == len(lines)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_commit_of_a_search_may_be_cut(url, proxy, postgresql_server, tmp_path, moment):
    log = tmp_path / "log"
    open_store(url).close()
    # Before: each is cut at its first try, and the second passes. After: each is cut, and stored.
    proxy.cuts = lambda number: moment if moment == "after" or number % 2 else ""
    assert search(through(url, proxy, postgresql_server), log=log).ending == "finished"
    assert proxy.commits > 50
    assert_whole(url, log)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_store_is_the_same_whichever_commit_is_cut(
    postgresql, proxy, postgresql_server, tmp_path, moment
):
    open_store(whole := new_database(postgresql)).close()
    short_search(whole, tmp_path / "whole")
    url = new_database(postgresql)
    open_store(url).close()
    proxy.cuts = lambda number: moment if moment == "after" or number % 2 else ""
    short_search(through(url, proxy, postgresql_server), tmp_path / "log")
    assert results(url) == results(whole)
    assert len(contents(url)["attempt"]) == len(contents(whole)["attempt"])


def test_cut_commit_returns_what_it_has_stored(url, proxy, postgresql_server):
    with open_store(through(url, proxy, postgresql_server)) as store:
        store.create_study(SPEC)
        proxy.cuts = lambda _number: "after"
        lease = store.acquire(SPEC.name)
        assert store.open_trial(lease, {}, FULL).number == 0
        assert store.open_trial(lease, {}, HALF).number == 1
        assert store.start_attempt(lease, 1) == 1
        assert store.stop_attempt(lease, 1, 1, "hung") is True
        assert store.stop_attempt(lease, 1, 1, "hung") is False


class Harmful:
    """Evaluates, and does harm while it is at its n-th task."""

    def __init__(self, harm, task: int = 7) -> None:
        self._harm, self._left = harm, task

    def __call__(self, task):
        self._left -= 1
        if self._left == 0:
            self._harm()
        return evaluate(task)


def later(seconds: float, work) -> threading.Thread:
    thread = threading.Timer(seconds, work)
    thread.start()
    return thread


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_search_outlasts_a_restart(url, postgresql_server, tmp_path, caplog, mode):
    log = tmp_path / "log"
    started = []

    def stop() -> None:
        postgresql_server.stop(mode)
        started.append(later(0.5, postgresql_server.start))

    assert search(url, Harmful(stop), log=log).ending == "finished"
    started[0].join()
    assert_whole(url, log)
    waits = [line for line in caplog.messages if "; waiting for it, for" in line]
    assert len(waits) == 1
    assert "the connection to postgresql" in waits[0]
    assert "the server of the store answers again" in caplog.text


def test_search_outlasts_a_server_that_takes_no_changes(url, postgresql_server, tmp_path, caplog):
    log = tmp_path / "log"
    set_to = "ALTER SYSTEM SET default_transaction_read_only = {}"

    def read_only() -> None:
        postgresql_server.execute(set_to.format("on"))
        postgresql_server.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
        thread.append(later(0.7, writable))

    def writable() -> None:
        # Its own session may write: it says so itself.
        postgresql_server.execute(set_to.format("off"))
        postgresql_server.execute("SELECT pg_reload_conf()")

    thread: list[threading.Thread] = []
    try:
        assert search(url, Harmful(read_only), log=log).ending == "finished"
    finally:
        thread[0].join()
    assert_whole(url, log)
    assert "takes no changes now (cannot execute" in caplog.text


def test_search_outlasts_a_server_whose_standby_takes_over(tmp_path, caplog):
    log = tmp_path / "log"
    with server() as first, first.standby() as standby:
        hosts = f"host={first.folder}&host={standby.folder}&target_session_attrs=read-write"
        url = f"postgresql+psycopg://postgres@/postgres?{hosts}"
        thread = []

        def lose() -> None:
            first.stop()
            thread.append(later(1.0, standby.promote))

        assert search(url, Harmful(lose), log=log).ending == "finished"
        thread[0].join()
        assert_whole(standby.url, log)
        first.start()
    assert "waiting for it" in caplog.text
    assert "the server of the store answers again" in caplog.text


@contextmanager
def hindered(store, times: int, sqlstate: str):
    """Raise a driver's error in the next transactions of a store."""
    import psycopg

    database, left = store._database, [times]
    original = database.writing

    @contextmanager
    def writing():
        with original() as connection:
            if left[0] > 0:
                left[0] -= 1
                connection.execute(
                    text(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")  # noqa: S608
                )
            yield connection

    database.writing = writing
    assert psycopg.errors.lookup(sqlstate)
    yield left
    database.writing = original


@pytest.mark.parametrize(
    ("sqlstate", "said"),
    [
        ("53100", "no space is left"),
        ("53300", "takes no more connections"),
        ("57014", "gave up a statement"),
        ("57P01", "was lost"),
        ("40P01", "stayed locked"),
    ],
)
def test_passing_failure_is_waited_for_or_ends_with_one_message(url, caplog, sqlstate, said):
    with open_store(url, patience=20) as store:
        store.create_study(SPEC)
        with hindered(store, 2, sqlstate):
            assert store.enqueue(SPEC.name, FULL).number == 0
        assert [said in line for line in caplog.messages[:1]] == [True]
    with open_store(url) as store, hindered(store, 2, sqlstate):
        with pytest.raises(RunError, match=rf"{said}.* stored before is safe"):
            store.enqueue(SPEC.name, HALF)
        assert [one.schedule for one in store.trials(SPEC.name)] == [FULL]


def test_patience_ends_and_the_next_run_goes_on(url, postgresql_server, tmp_path):
    log = tmp_path / "log"
    began = []

    def stop() -> None:
        postgresql_server.stop("fast")
        began.append(time.monotonic())

    try:
        with pytest.raises(RunError, match="run again to continue"):
            search(url, Harmful(stop), patience=0.5, log=log)
        assert 0.5 <= time.monotonic() - began[0] < 10
    finally:
        postgresql_server.start()
    with open_store(url) as store:
        store.free(STUDY)  # held by this process, which has not ended
    assert search(url, log=log).ending == "finished"
    with open_store(url) as store:
        assert store.trials(STUDY) == uninterrupted()


def test_ctrl_c_ends_the_waiting(url, postgresql_server):
    began = []

    def stop() -> None:
        postgresql_server.stop("fast")
        began.append(time.monotonic())
        later(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))

    try:
        with pytest.raises(RunError, match="run again to continue"):
            search(url, Harmful(stop), patience=300)
        assert time.monotonic() - began[0] < 20
    finally:
        postgresql_server.start()


def test_ctrl_c_while_the_server_is_gone_waits_for_nothing(url, postgresql_server):
    def stop() -> None:
        postgresql_server.stop("fast")
        raise KeyboardInterrupt

    began = time.monotonic()
    try:
        with pytest.raises(RunError, match="run again to continue"):
            search(url, Harmful(stop), patience=300)
        assert time.monotonic() - began < 60
    finally:
        postgresql_server.start()


def test_broken_connection_is_lost_whatever_the_driver_calls_it():
    import psycopg

    error = psycopg.OperationalError("consuming input failed: server closed the connection")
    assert "was lost" in str(meaning(error, "x", operational=True))


def test_commit_lost_in_a_crash_is_repeated_whoever_has_its_number_by_then(
    url, proxy, postgresql_server
):
    def crash(_number: int) -> str:
        """The server forgets the transaction, whose number goes to one that is stored."""
        proxy.cuts = lambda _number: ""
        postgresql_server.stop("immediate")
        postgresql_server.start()
        for _ in range(5):
            postgresql_server.execute(f"CREATE TABLE t{uuid.uuid4().hex} AS SELECT 1")
        return "before"

    with open_store(through(url, proxy, postgresql_server), patience=60) as store:
        store.create_study(SPEC)
        proxy.cuts = crash
        assert store.enqueue(SPEC.name, FULL).number == 0
        assert [one.schedule for one in store.trials(SPEC.name)] == [FULL]


def test_marks_of_answered_commits_are_removed(url, proxy, postgresql_server):
    with open_store(through(url, proxy, postgresql_server)) as store:
        store.create_study(SPEC)
        lease = store.acquire(SPEC.name)
        proxy.cuts = lambda number: "after" if number % 3 else ""
        for _ in range(7):
            store.beat(lease, None)
    assert len(contents(url)["change"]) == 1
