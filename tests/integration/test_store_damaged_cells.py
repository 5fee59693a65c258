"""Cells hold what nobody has written there: `db check` names each, and no command breaks down."""

import sqlite3

import pytest
from typer.testing import CliRunner

from schedsearch.cli import app
from schedsearch.errors import InputError, SchedsearchError
from schedsearch.store import open_store
from schedsearch.store.store import check_store
from schedsearch.store.tables import Base
from tests.integration.searched import COMMANDS, searched_store
from tests.pace import some

CELLS = [
    (table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns
]
IDENTITIES = ("id", "study_id", "trial_id", "schedule_id", "context_id", "counts_id", "sample_id")
NOT_UTF8 = "CAST(x'41ff' AS TEXT)"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Path of a store with a search that has ended, one that has not, and its holder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs.db"
    path.write_bytes(searched_store())
    return path


def change(store, *statements: str) -> None:
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def problems(store) -> str:
    return "\n".join(check_store(store).problems)


def run(store, command):
    ended = CliRunner().invoke(app, [*command, "--store", str(store)])
    assert isinstance(ended.exception, (SchedsearchError, SystemExit, type(None))), ended.exception
    return ended


VALUES = ("x'00ff'", NOT_UTF8, "'{broken'", "'[]'", "'{\"pid\":1}'")
EVERY = [(*cell, value) for cell in CELLS for value in VALUES]
IN_TURNS = {(*cell, VALUES[number % len(VALUES)]) for number, cell in enumerate(CELLS)}


@pytest.mark.parametrize(("table", "column", "value"), some(EVERY, IN_TURNS))
def test_no_cell_breaks_a_command_down(store, table, column, value):
    key = Base.metadata.tables[table].primary_key.columns.keys()[0]
    try:
        change(
            store,
            "PRAGMA foreign_keys=OFF",
            f'UPDATE {table} SET "{column}" = {value} '  # noqa: S608
            f"WHERE {key} = (SELECT max({key}) FROM {table})",
        )
    except sqlite3.Error as error:
        assert column in IDENTITIES or "UNIQUE" in str(error)  # noqa: PT017
    for command in COMMANDS:
        run(store, command)


@pytest.mark.parametrize(
    ("table", "column", "value", "row"),
    [
        ("study", "spec", "'{broken'", "id 1"),
        ("study", "spec", "'[]'", "id 1"),
        ("study", "spec", "'{}'", "id 1"),
        ("study", "name", "x'41'", "id 1"),
        ("study", "name", NOT_UTF8, "id 1"),
        ("study", "created", "'yesterday'", "id 1"),
        ("study", "lease_holder", "'{\"pid\":1}'", "id 1"),
        ("study", "lease_holder", '\'{"pid":"x","host":"h"}\'', "id 1"),
        ("study", "lease_token", "'many'", "id 1"),
        ("schedule", "keep", "'[1.0,\"x\"]'", "id 1"),
        ("schedule", "keep", "'7'", "id 1"),
        ("schedule", "ranker", "'{\"name\":1}'", "id 1"),
        ("trial", "state", "'LOST'", "id 1"),
        ("trial", "score", "'high'", "id 1"),
        ("trial", "score", "9e999", "id 1"),
        ("trial", "params", "'{\"layer\":null}'", "id 1"),
        ("trial", "target", "'{\"layers\":4}'", "id 1"),
        ("trial", "reason", NOT_UTF8, "id 1"),
        ("trial", "read", "0.5", "id 1"),
        ("attempt", "started", "7", "trial_id 1, number 1"),
        ("attempt", "spent", "x'00'", "trial_id 1, number 1"),
        ("counts", "kept", "'6,six'", "id 1"),
        ("sample", "key", NOT_UTF8, "id 1"),
        ("context", "description", "'\"text\"'", "id 1"),
        ("evaluation", "score", "'good'", "context_id 1, counts_id 1, sample_id 1"),
        ("evaluation", "prediction", NOT_UTF8, "context_id 1, counts_id 1, sample_id 1"),
    ],
)
def test_check_names_the_cell(store, table, column, value, row):
    keys = row.replace(" ", " = ").replace(", ", " AND ").replace(" = AND = ", " AND ")
    keys = " AND ".join(part.replace(" ", " = ") for part in row.split(", "))
    change(store, f'UPDATE {table} SET "{column}" = {value} WHERE {keys}')  # noqa: S608
    assert f"(column `{column}` of table `{table}`, row {row})" in problems(store)
    ended = run(store, ("db", "check"))
    assert ended.exit_code == 1


def test_check_names_every_cell_not_only_the_first(store):
    change(
        store,
        "UPDATE study SET spec = '{broken', created = 'yesterday'",
        "UPDATE trial SET reason = x'00' WHERE number < 3",
    )
    found = check_store(store).problems
    assert sum("table `study`" in one for one in found) == 4
    assert sum("column `reason` of table `trial`" in one for one in found) == 6


def test_trial_that_contradicts_itself_is_named(store):
    change(store, "UPDATE trial SET n = NULL WHERE id = 1")
    assert "trial 0 cannot be read: `n` is missing (study `synthetic`)" in problems(store)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("ALTER TABLE trial DROP COLUMN reason", "column `reason` of table `trial` is missing"),
        ("ALTER TABLE trial RENAME kv_ratio TO kv", "column `kv_ratio` of table `trial` is"),
        ("DROP TABLE evaluation", "table `evaluation` is missing"),
        ("DROP TABLE schedsearch_version", "table `schedsearch_version` is missing"),
        ("DELETE FROM schedsearch_version", "the revision in `schedsearch_version` is None"),
    ],
)
def test_missing_part_is_named_by_check_and_refused_by_all_others(store, statement, problem):
    change(store, statement)
    assert problem in problems(store)
    assert run(store, ("db", "check")).exit_code == 1
    for opening in (open_store, lambda path: open_store(path, read_only=True)):
        with pytest.raises(InputError, match=r"runs\.db is damaged .*`schedsearch db check`"):
            opening(store)


def test_commands_say_in_one_line_what_to_do(store):
    change(store, "UPDATE study SET spec = '{broken'")
    for command in COMMANDS[:3]:
        error = str(run(store, command).exception)
        assert "runs.db is damaged ('{broken' instead of a JSON object); `schedsearch db" in error
        assert "go back to a backup of it" in error
        assert "\n" not in error


def test_columns_that_may_be_empty_are_those_whose_cells_may():
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            assert column.type.null == column.nullable, column
