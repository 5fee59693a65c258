"""Stores that may be read and not written; nothing is left beside them."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError, RunError
from schedsearch.store import open_store
from schedsearch.store.store import check_store
from tests.unit.store.strategies import FULL, HALF, SPEC

WRITER = f"""
import sys
from schedsearch.store import open_store
from tests.unit.store.strategies import HALF
with open_store(sys.argv[1]) as store:
    print("open", flush=True)
    for line in sys.stdin:
        store.enqueue({SPEC.name!r}, HALF)
        print("written", flush=True)
"""


@pytest.fixture
def store(folder):
    """Path of a store with one study and one trial."""
    path = folder / "runs.db"
    with open_store(path) as made:
        made.create_study(SPEC)
        made.enqueue(SPEC.name, FULL)
    return path


def lock(path, modes) -> None:
    path.chmod(modes[0])
    path.parent.chmod(modes[1])


def look(path, trials: int = 1) -> None:
    """Read all that commands read, and see that nothing has changed beside."""
    before = sorted((file.name, file.stat().st_size) for file in path.parent.iterdir())
    with open_store(path, read_only=True) as opened:
        assert opened.studies()[0].spec == SPEC
        assert len(opened.trials(SPEC.name)) == trials
        assert opened.check().problems == ()
        with pytest.raises(InputError, match="cannot be written"):
            opened.enqueue(SPEC.name, Schedule((1.0, 0.5, 0.5, 0.5)))
    assert check_store(path).problems == ()
    after = sorted((file.name, file.stat().st_size) for file in path.parent.iterdir())
    assert after == before


MODES = [(0o644, 0o755), (0o444, 0o755), (0o644, 0o555), (0o444, 0o555)]


@pytest.mark.parametrize("modes", MODES, ids=lambda modes: f"{modes[0]:o} in {modes[1]:o}")
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_store_is_read_whatever_may_be_written(store, journal, modes):
    connection = sqlite3.connect(store)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.close()
    lock(store, modes)
    look(store)


@pytest.mark.parametrize("modes", MODES, ids=lambda modes: f"{modes[0]:o} in {modes[1]:o}")
@pytest.mark.parametrize("index", [True, False])
def test_log_of_a_killed_writer_is_read_too(store, folder, modes, index):
    kept = folder / "kept"
    kept.mkdir()
    with open_store(store) as opened:
        opened.enqueue(SPEC.name, HALF)
        for end in ("", "-wal", "-shm") if index else ("", "-wal"):
            shutil.copyfile(f"{store}{end}", kept / f"runs.db{end}")
    lock(kept / "runs.db", modes)
    if modes == MODES[0]:  # whoever may write applies the log
        with open_store(kept / "runs.db", read_only=True) as opened:
            assert len(opened.trials(SPEC.name)) == 2
    else:
        look(kept / "runs.db", trials=2)
    kept.chmod(0o755)


def test_log_of_a_killed_writer_is_read_through_a_link(store, folder):
    kept = folder / "kept"
    kept.mkdir()
    (folder / "link.db").symlink_to(kept / "runs.db")
    with open_store(store) as opened:
        opened.enqueue(SPEC.name, HALF)
        for end in ("", "-wal"):
            shutil.copyfile(f"{store}{end}", kept / f"runs.db{end}")
    lock(kept / "runs.db", MODES[3])
    look(folder / "link.db", trials=2)
    kept.chmod(0o755)


@pytest.mark.parametrize("modes", MODES[1:], ids=lambda modes: f"{modes[0]:o} in {modes[1]:o}")
def test_store_at_work_is_read_beside_its_writer(store, modes):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(os.seteuid, os.getuid()),  # with the rights that this process gave up
    )
    try:
        assert writer.stdout.readline() == "open\n"
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "written\n"
        lock(store, modes)
        look(store, trials=2)
        store.parent.chmod(0o755)
    finally:
        writer.communicate("")
    look(store, trials=2)


@pytest.mark.parametrize(
    "name", ["a?mode=memory.db", "a#b.db", "100%25.db", "a b&c.db", os.fsdecode(b"\xff\xfe.db")]
)
@pytest.mark.parametrize("modes", [MODES[0], MODES[3]], ids=["writable", "read-only"])
def test_path_may_have_any_characters(folder, name, modes):
    path = folder / name
    with open_store(path) as made:
        made.create_study(SPEC)
        made.enqueue(SPEC.name, FULL)
    lock(path, modes)
    look(path)
    assert [os.fsencode(file.name) for file in folder.iterdir()] == [os.fsencode(name)]


def test_change_while_a_file_is_read_is_told(store):
    lock(store, MODES[3])
    with open_store(store, read_only=True) as opened:
        assert len(opened.trials(SPEC.name)) == 1
        lock(store, MODES[0])
        with open_store(store) as writer:
            writer.enqueue(SPEC.name, HALF)
        with pytest.raises(RunError, match=r"runs\.db was changed while it was read; run again"):
            opened.trials(SPEC.name)


def test_store_that_cannot_be_read_is_refused(store):
    lock(store, (0o000, 0o755))
    with pytest.raises(InputError, match=r"runs\.db cannot be opened"):
        open_store(store, read_only=True)


def test_read_only_store_is_backed_up(store):
    lock(store, MODES[3])
    target = Path(tempfile.gettempdir()) / f"{store.parent.name}.db"
    with open_store(store, read_only=True) as opened:
        opened.backup(target)
    with open_store(target, read_only=True) as copy:
        assert copy.spec(SPEC.name) == SPEC
    target.unlink()
