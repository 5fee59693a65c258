import sqlite3
import subprocess
import sys
import threading

import pytest
from sqlalchemy import Engine, event

from schedsearch.app.stores import look
from schedsearch.errors import InputError, RunError
from schedsearch.store import Evaluation, database, find_store, open_store, schema
from schedsearch.store.address import url_of
from schedsearch.store.database import Database
from tests.unit.store.strategies import FULL, SPEC


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("", "must outlast the process"),
        (":memory:", "must outlast the process"),
        ("sqlite://", "must be a plain file"),
        ("sqlite:///:memory:", "must be a plain file"),
        ("sqlite:///runs.db?mode=ro", "must be a plain file"),
        ("mysql://localhost/runs", r"must be SQLite or PostgreSQL, but got mysql://"),
        ("postgres://localhost/runs", r"must be SQLite or PostgreSQL, but got postgres://"),
        ("postgresql://localhost:port/runs", "cannot be read; give a path"),
        ("postgresql+pigeon://localhost/runs", r"no driver postgresql\+pigeon"),
        ("http//://", "cannot be read; give a path"),
    ],
)
def test_address_that_is_no_store_is_refused(target, complaint):
    with pytest.raises(InputError, match=complaint):
        open_store(target)


def test_missing_driver_of_postgresql_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"driver psycopg; run pip install .psycopg.binary"):
        open_store("postgresql://localhost/runs")


def test_messages_do_not_show_the_password():
    found = Database(url_of("postgresql://me:secret@localhost/runs"))
    assert found.name == "postgresql://me:***@localhost/runs"


def test_server_that_does_not_answer_is_named():
    pytest.importorskip("psycopg")
    with pytest.raises(InputError, match=r"postgresql://me:\*\*\*@.*that its server answers"):
        open_store("postgresql://me:secret@/runs?host=/nowhere")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"folder of .*runs\.db does not exist; create .*missing"):
        open_store(tmp_path / "missing" / "runs.db")


def test_store_that_must_exist_is_not_created(path):
    with pytest.raises(InputError, match=r"there is no store .*runs\.db"):
        open_store(path, create=False)
    assert not path.exists()


def test_missing_or_empty_store_is_not_found_and_nothing_is_made(path):
    assert find_store(path) is None
    assert not path.exists()
    path.touch()
    assert find_store(path) is None
    for only in ({"create": False}, {"read_only": True}):
        with pytest.raises(InputError, match=r"runs\.db is empty, there is no store in it"):
            open_store(path, **only)
    assert path.read_bytes() == b""
    assert list(path.parent.iterdir()) == [path]


def test_store_that_is_there_is_found(path):
    with open_store(path) as store:
        store.create_study(SPEC)
    with find_store(path) as found:
        assert found.spec(SPEC.name) == SPEC


@pytest.mark.parametrize("opening", [find_store, lambda path: open_store(path, read_only=True)])
def test_what_is_no_store_is_refused_to_readers_too(path, opening):
    path.write_bytes(b"layer,keep\n" * 500)
    with pytest.raises(InputError, match=r"runs\.db is not an SQLite database"):
        opening(path)
    with pytest.raises(InputError, match="must be a file, but .* is a folder"):
        opening(path.parent)


def test_folder_is_no_store(tmp_path):
    with pytest.raises(InputError, match="must be a file, but .* is a folder"):
        open_store(tmp_path)


def test_file_that_is_no_database_is_refused_and_left_alone(path):
    content = b"layer,keep\n" * 500
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"runs\.db is not an SQLite database"):
        open_store(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["alembic_version", "photos"])
def test_database_of_another_program_is_refused_and_left_alone(path, table):
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE {table} (version_num TEXT)")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    with pytest.raises(InputError, match=f"another program's database .it holds `{table}`"):
        open_store(path)
    assert path.read_bytes() == content


def test_damaged_store_is_named(path):
    with open_store(path) as store:
        store.create_study(SPEC)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (size - 100))
    with pytest.raises(InputError, match=r"runs\.db is damaged .*backup"):
        open_store(path)


def test_empty_file_becomes_a_store(path):
    path.touch()
    with open_store(path) as store:
        assert store.studies() == []


def test_read_only_folder_is_refused(folder):
    folder.chmod(0o555)
    with pytest.raises(InputError, match=r"runs\.db cannot be opened .*folder writable"):
        open_store(folder / "runs.db")


def test_store_in_a_read_only_folder_is_refused(folder):
    open_store(folder / "runs.db").close()
    folder.chmod(0o555)
    with pytest.raises(InputError, match=r"runs\.db cannot be (opened|written)"):
        open_store(folder / "runs.db")


def test_read_only_store_is_refused_and_what_it_holds_stays(folder):
    path = folder / "runs.db"
    with open_store(path) as store:
        store.create_study(SPEC)
    path.chmod(0o444)
    with pytest.raises(InputError, match=r"runs\.db cannot be written"), open_store(path) as store:
        store.enqueue(SPEC.name, FULL)
    path.chmod(0o644)
    with open_store(path) as store:
        assert store.spec(SPEC.name) == SPEC
        assert store.trials(SPEC.name) == []


@pytest.mark.parametrize(("locked", "mode"), [("runs.db", 0o444), ("", 0o555)])
def test_whoever_is_going_to_write_is_told_before_the_work_why_and_what_to_do(folder, locked, mode):
    path = folder / "runs.db"
    with open_store(path) as store:
        store.create_study(SPEC)
    (folder / locked).chmod(mode)
    for create in (True, False):
        with pytest.raises(InputError) as error:
            look(path, SPEC.name, create)
        assert f"runs.db cannot be written (no right to write to {folder / locked})" in str(
            error.value
        )
        assert "a report evaluates is stored there; get that right, or go on with a copy" in str(
            error.value
        )
        assert "\n" not in str(error.value)


def test_full_disk_is_one_clear_error_and_loses_nothing(path):
    def leave_little_room(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 4}")

    with open_store(path) as store:
        store.create_study(SPEC)
        context = store.context_id(SPEC.name, "c0ffee", {})
        few = {("s0", (9, 9)): Evaluation(1.0, "yes")}
        store.add_scores(context, few)
    many = {(f"{i:064}", (9, 9)): Evaluation(0.5, "no") for i in range(5000)}
    event.listen(Engine, "connect", leave_little_room)
    try:
        with open_store(path) as store:
            with pytest.raises(RunError, match=r"no space is left for .*runs\.db.*disk is full"):
                store.add_scores(context, many)
            assert store.scores(context, [*few, *many]) == few
            store.enqueue(SPEC.name, FULL)
    finally:
        event.remove(Engine, "connect", leave_little_room)
    with open_store(path) as store:
        assert store.add_scores(context, many) == 5000
        assert len(store.trials(SPEC.name)) == 1
        assert store.check().problems == ()


def test_store_that_stays_locked_is_one_clear_error(path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with open_store(path) as store:
        store.create_study(SPEC)
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RunError, match=r"runs\.db stayed locked by another process"):
            store.enqueue(SPEC.name, FULL)
        assert store.spec(SPEC.name) == SPEC
        other.close()
        assert store.enqueue(SPEC.name, FULL).number == 0


def test_store_is_made_as_soon_as_another_process_that_makes_it_has_let_go(path):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.5, other.execute, ["ROLLBACK"])
    done.start()
    with open_store(path) as store:
        assert store.check().problems == ()
    done.join()
    other.close()


def test_file_that_another_process_keeps_locked_is_one_clear_error(path, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunError, match=r"runs\.db stayed locked by another process"):
        open_store(path)
    other.close()


def test_importing_the_package_does_not_import_sqlalchemy():
    code = "import sys, schedsearch, schedsearch.core.study; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
