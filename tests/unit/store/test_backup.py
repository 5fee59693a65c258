"""Backups: complete or not there, and never over something that is in use."""

import errno
import multiprocessing
import os
import signal
import sqlite3
import threading

import pytest

from schedsearch.core.partials import is_partial
from schedsearch.errors import InputError, RunError
from schedsearch.store import Store, backup, open_store
from schedsearch.store.address import url_of
from schedsearch.store.database import Database
from tests.unit.store.strategies import EVALUATIONS, SPEC

STUDY = SPEC.name


def test_backup_is_a_store_with_the_same_content(store, tmp_path):
    store.backup(tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db", create=False) as copy:
        assert copy.check() == store.check()
        assert copy.trials(STUDY) == store.trials(STUDY)
        assert copy.scores(1, EVALUATIONS) == EVALUATIONS


def test_backup_never_replaces_a_file(store, path, tmp_path):
    store.backup(tmp_path / "copy.db")
    for taken in (tmp_path / "copy.db", path):
        content = taken.read_bytes()
        with pytest.raises(InputError, match=f"{taken.name} exists; give the backup a new name"):
            store.backup(taken)
        assert taken.read_bytes() == content


@pytest.mark.parametrize("links", [True, False])
def test_backup_never_replaces_a_file_that_came_meanwhile(store, tmp_path, monkeypatch, links):
    target, fsync = tmp_path / "copy.db", os.fsync

    def refused(*_paths) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def come(descriptor: int) -> None:
        fsync(descriptor)
        if not target.exists():
            target.write_text("precious")

    monkeypatch.setattr(os, "fsync", come)
    if not links:
        monkeypatch.setattr(os, "link", refused)
    with pytest.raises(InputError, match=r"copy\.db exists; give the backup a new name"):
        store.backup(target)
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob("*.partial"))


def test_backup_needs_no_hard_links(store, tmp_path, monkeypatch):
    def refused(*_paths) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    store.backup(tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db", create=False) as copy:
        assert copy.trials(STUDY) == store.trials(STUDY)


def test_backup_into_a_missing_folder_is_refused(store, tmp_path):
    with pytest.raises(InputError, match=r"copy\.db cannot be created .No such file"):
        store.backup(tmp_path / "missing" / "copy.db")


def test_backup_of_a_server_names_the_tool_for_it(tmp_path):
    pytest.importorskip("psycopg")
    with (
        Store(Database(url_of("postgresql://localhost/runs"))) as store,
        pytest.raises(InputError, match="copy it with pg_dump"),
    ):
        store.backup(tmp_path / "copy.db")


def test_backup_that_does_not_fit_leaves_no_file(store, tmp_path, file_size_limit):
    file_size_limit(40_000)
    with pytest.raises(RunError, match=r"backup .*copy\.db could not be written"):
        store.backup(tmp_path / "copy.db")
    assert list(tmp_path.glob("copy*")) == []
    assert store.check().problems == ()


def killed_backup(path, target, moment: str) -> None:
    def copy(*arguments) -> None:
        if moment == "after":
            whole(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    whole, backup.copy = backup.copy, copy
    with open_store(path) as store:
        store.backup(target)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_backup_leaves_what_says_so_and_the_next_one_removes_it(
    store, path, tmp_path, moment
):
    target = tmp_path / "copy.db"
    process = multiprocessing.get_context("fork").Process(
        target=killed_backup, args=(path, target, moment)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not target.exists()
    (left,) = [file for file in tmp_path.iterdir() if "copy" in file.name]
    assert is_partial(left)
    with pytest.raises(InputError, match="is what an interrupted backup has left; delete it"):
        open_store(left)
    store.backup(target)
    assert [file for file in tmp_path.iterdir() if "copy" in file.name] == [target]


def test_forced_backup_replaces_a_file(store, tmp_path):
    target = tmp_path / "copy.db"
    target.write_text("old")
    with pytest.raises(InputError, match="or replace the file with --force"):
        store.backup(target)
    store.backup(target, force=True)
    with open_store(target, create=False) as copy:
        assert copy.trials(STUDY) == store.trials(STUDY)


def test_forced_backup_never_replaces_the_store(store, path, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for taken in (path, link, tmp_path / "runs.db-wal", tmp_path / "runs.db-shm"):
        with pytest.raises(InputError, match="in use by this very command"):
            store.backup(taken, force=True)
    assert store.check().problems == ()


@pytest.mark.parametrize("force", [False, True])
def test_backup_is_not_put_before_the_log_of_another_store(store, tmp_path, force):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE photos (name)")
    if not force:
        (tmp_path / "other.db").unlink()
    (tmp_path / "link.db").symlink_to("other.db")
    for target in ("other.db", "link.db"):
        with pytest.raises(InputError, match=r"other\.db-wal exists and would be applied"):
            store.backup(tmp_path / target, force=force or target == "link.db")
    other.close()


def test_backup_through_a_pipe_is_the_store(store, tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    while not received:
        try:
            store.backup(pipe)
            break
        except InputError:  # the reader has not opened it yet
            continue
    reader.join()
    assert pipe.is_fifo()
    (tmp_path / "copy.db").write_bytes(received[0])
    with open_store(tmp_path / "copy.db", create=False) as copy:
        assert copy.check() == store.check()


def test_backup_to_a_device_writes_through_it(store):
    store.backup(os.devnull)
    with pytest.raises(RunError, match="/dev/full cannot be written .No space left"):
        store.backup("/dev/full")
