"""Cells hold what nobody has written there: `db check` names each, and no command breaks down."""

import sqlite3

import pytest
from typer.testing import CliRunner

from schedsearch.cli import app
from schedsearch.errors import InputError, SchedsearchError
from schedsearch.store import open_store
from schedsearch.store.cells import Amount, Cell, Whole
from schedsearch.store.failures import DamagedError
from schedsearch.store.store import check_store, upgrade
from schedsearch.store.tables import Base
from tests.integration.searched import COMMANDS, searched_store
from tests.pace import some

CELLS = [
    (table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns
]
TABLES = Base.metadata.tables
IDENTITIES = ("id", "study_id", "trial_id", "schedule_id", "context_id", "counts_id", "sample_id")
NOT_UTF8 = "CAST(x'41ff' AS TEXT)"


def cell_type(table: str, column: str) -> Cell:
    return TABLES[table].columns[column].type


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
IN_TURNS = {(*cell, VALUES[number % len(VALUES)]) for number, cell in enumerate(CELLS[::3])}


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


HARMS = [
    *((*cell, "x'00ff'") for cell in CELLS),
    *((*cell, "NULL") for cell in CELLS if not TABLES[cell[0]].columns[cell[1]].nullable),
    *((*cell, "-5") for cell in CELLS if isinstance(cell_type(*cell), Whole)),
    *((*cell, "-0.5") for cell in CELLS if isinstance(cell_type(*cell), Amount)),
]
READ = {"study": None, "trial": None, "schedule": ("keep", "ranker"), "attempt": ("spent", "naive")}
"""What `show` and `export` read: of a table all columns, or some."""


@pytest.mark.parametrize(
    ("table", "column", "value"), some(HARMS, HARMS[1::3]), ids=map(" ".join, HARMS)
)
def test_damage_to_any_cell_is_named_and_nothing_is_printed_before(store, table, column, value):
    key = TABLES[table].primary_key.columns.keys()[0]
    change(
        store,
        "PRAGMA writable_schema=ON",
        *(
            f"UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL{end}', '{end}')"  # noqa: S608
            for end in (",", " CONSTRAINT", "\n")
        ),
    )
    try:
        change(
            store,
            f'UPDATE {table} SET "{column}" = {value} '  # noqa: S608
            f"WHERE rowid = (SELECT min(rowid) FROM {table})"
            if table != "evaluation"
            else f'UPDATE {table} SET "{column}" = {value} '  # noqa: S608
            f"WHERE ({key}, counts_id, sample_id) = "
            f"(SELECT {key}, counts_id, sample_id FROM {table} LIMIT 1)",
        )
    except sqlite3.IntegrityError:
        assert TABLES[table].columns[column].primary_key  # noqa: PT017
        return
    assert f"column `{column}` of table `{table}`" in problems(store)
    for command in COMMANDS[:3]:
        ended = run(store, command)
        if ended.exit_code:
            assert ended.stdout == ""
        reads = ("study", None) if command == ("list",) else (table, READ.get(table, ()))
        if table == reads[0] and (reads[1] is None or column in reads[1]):
            assert isinstance(ended.exception, DamagedError), (command, ended.stdout)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE trial SET number = -5 WHERE id = 3", "-5 instead of a whole number from 0 on"),
        ("DELETE FROM trial WHERE id = 3", "trial 2 is missing"),
        ("UPDATE study SET lease_holder = '{}'", "the holder of a lease cannot be read"),
        ("UPDATE study SET progress = '{}'", "the progress of a search cannot be read"),
    ],
)
def test_damage_is_seen_by_whoever_reads_the_study(store, statement, problem):
    change(store, "PRAGMA foreign_keys=OFF", statement)
    assert problems(store)
    for command in COMMANDS[1:3]:
        ended = run(store, command)
        assert isinstance(ended.exception, DamagedError)
        assert problem in str(ended.exception)
        assert ended.stdout == ""


def test_lease_without_its_moment_is_named(store):
    change(store, "UPDATE study SET lease_since = NULL")
    problem = "the lease of study `other` does not say since when it is held"
    assert problem in problems(store)
    with open_store(store, create=False) as opened, pytest.raises(DamagedError, match=problem):
        opened.acquire("other")


def test_study_under_another_name_than_its_own_is_named(store):
    change(store, "UPDATE study SET name = 'renamed' WHERE id = 1")
    assert "study `renamed` is called `synthetic` by its specification" in problems(store)


@pytest.mark.parametrize("revision", ["zzz", "", "4", "00005", "0000", "0005 "])
def test_revision_that_no_schedsearch_has_is_damage(store, revision):
    change(store, f"UPDATE schedsearch_version SET version_num = '{revision}'")  # noqa: S608
    problem = f"the revision in `schedsearch_version` is '{revision}'"
    assert problem in problems(store)
    for opening in (open_store, lambda path: open_store(path, read_only=True), upgrade):
        with pytest.raises(DamagedError) as error:
            opening(store)
        assert problem in str(error.value)


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
        ("attempt", "workers", "'[]'", "trial_id 1, number 1"),
        ("attempt", "workers", "'{\"w\":[1,2]}'", "trial_id 1, number 1"),
        ("attempt", "workers", '\'{"w":["2030-01-01T00:00:00+00:00"]}\'', "trial_id 1, number 1"),
        ("counts", "kept", "'6,six'", "id 1"),
        ("sample", "key", NOT_UTF8, "id 1"),
        ("context", "description", "'\"text\"'", "id 1"),
        ("comparison", "content", "'{}'", "study_id 1"),
        ("comparison", "content", "json_set(content, '$.rows[1].name', 7)", "study_id 1"),
        ("comparison", "content", "json_set(content, '$.drop.low', 'x')", "study_id 1"),
        ("exhibit", "content", "'{}'", "id 1"),
        ("exhibit", "content", "json_set(content, '$.kept[3]', '/4A=')", "id 1"),  # they came back
        ("exhibit", "content", "json_set(content, '$.split', 'certify')", "id 1"),
        ("exhibit", "content", "json_set(content, '$.score', 'high')", "id 1"),
        ("exhibit", "content", "json_set(content, '$.views[0].box[2]', 1.5)", "id 1"),
        ("exhibit", "picture", "substr(picture, 1, 15)", "id 1"),
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
