import shutil
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from schedsearch.errors import InputError
from schedsearch.store import Evaluation, database, open_store, schema, upgrade
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.tables import REVISION, VERSION_TABLE, Base
from tests.unit.store.strategies import FULL, SPEC

NEXT = '''"""Add a note to studies."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{REVISION}"


def upgrade():
    with op.batch_alter_table("study") as table:
        table.add_column(sa.Column("note", sa.Text, nullable=False, server_default=""))
        table.alter_column("version", new_column_name="made_by")
    {then}
'''


@pytest.fixture
def later(monkeypatch, tmp_path):
    """Makes this schedsearch a later one, with one more revision that rebuilds a table."""

    def become(then: str = "pass") -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(schema._MIGRATIONS, folder)
        (folder / "versions" / "next_note.py").write_text(NEXT.format(then=then, REVISION=REVISION))
        monkeypatch.setattr(schema, "_MIGRATIONS", folder)
        monkeypatch.setattr(schema, "REVISION", "9999")

    return become


def ddl(path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        found = {name: " ".join(sql.split()) for name, sql in rows}
    connection.close()
    return found


def clauses(sql: str) -> list[str]:
    """Columns and constraints of a table in any order: one that SQLite rebuilds has another."""
    depth, parts = 0, [""]
    for letter in sql.replace('"', ""):
        depth += (letter == "(") - (letter == ")")
        parts = [*parts, ""] if (letter, depth) == (",", 1) else [*parts[:-1], parts[-1] + letter]
    name, first = parts[0].split("(", 1)
    return sorted(part.strip(" )").replace(" (", "(") for part in (name, first, *parts[1:]))


def test_migrations_build_the_tables(path):
    open_store(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_migrations_write_the_same_sql_as_the_tables(path, tmp_path):
    open_store(path).close()
    migrated = ddl(path)
    del migrated[VERSION_TABLE]
    plain = create_engine(f"sqlite:///{tmp_path / 'plain.db'}")
    Base.metadata.create_all(plain)
    plain.dispose()
    described = ddl(tmp_path / "plain.db")
    assert migrated.keys() == described.keys()
    for name, sql in migrated.items():
        assert clauses(sql) == clauses(described[name])


def test_tables_are_those_of_the_last_revision():
    assert ScriptDirectory.from_config(schema._alembic()).get_current_head() == REVISION


def test_writer_does_not_wait_for_a_reader(path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with open_store(path) as store:
        store.create_study(SPEC)
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM trial").fetchone() == (0,)
        store.enqueue(SPEC.name, FULL)
        assert reader.execute("SELECT count(*) FROM trial").fetchone() == (0,)
        reader.close()


def test_references_between_tables_are_enforced(path):
    with open_store(path) as store, pytest.raises(LeaseLostError, match="has been deleted"):
        store.add_scores(99, {("sample", (4,)): Evaluation(1.0)})


def test_store_of_an_older_version_is_refused_until_it_is_upgraded(path, later):
    with open_store(path) as store:
        store.create_study(SPEC)
        store.enqueue(SPEC.name, FULL)
    later()
    with pytest.raises(InputError, match=f"revision {REVISION}, .* run `schedsearch db upgrade`"):
        open_store(path)
    assert upgrade(path) == (REVISION, "9999")
    assert upgrade(path) == ("9999", "9999")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name, note FROM study").fetchall() == [("demo", "")]
    assert connection.execute("SELECT study_id, number FROM trial").fetchall() == [(1, 0)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_upgrade_that_fails_changes_nothing(path, later):
    open_store(path).close()
    before = ddl(path)
    later(then="raise RuntimeError('half way')")
    with pytest.raises(RuntimeError, match="half way"):
        upgrade(path)
    assert ddl(path) == before
    with pytest.raises(InputError, match=f"revision {REVISION}"):
        open_store(path)


def test_store_of_a_newer_version_is_refused(path, later, monkeypatch):
    later()
    open_store(path).close()
    monkeypatch.undo()
    for opening in (open_store, upgrade):
        with pytest.raises(InputError, match=r"runs\.db was written by a newer .*revision 9999"):
            opening(path)


def test_upgrade_needs_a_store(path):
    with pytest.raises(InputError, match="there is no store"):
        upgrade(path)
    path.touch()
    with pytest.raises(InputError, match="is empty; there is nothing to upgrade"):
        upgrade(path)
