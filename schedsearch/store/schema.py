"""The state of a database's tables: created when new, checked when opened, upgraded on demand."""

import re
import sqlite3
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Column, Connection, Table, inspect, text

from schedsearch.errors import InputError, RunError
from schedsearch.store.address import check_folder, check_writable, file_of, is_there, name_of
from schedsearch.store.database import BUSY_SECONDS, Access, Database
from schedsearch.store.failures import DamagedCell, described
from schedsearch.store.tables import REVISION, VERSION_TABLE, Base

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
_CREATION_LOCK = 0x5C4ED  # any number that no other program locks


def prepare(url: URL, create: bool) -> None:
    """Make sure that a database holds exactly our tables; an empty one gets them.

    Raises:
        InputError: It has an older or newer revision, belongs to somebody else, cannot be
            reached, or has no tables and `create` is off.
    """
    database = _opened(url, "create" if create else "write")
    try:
        revision = _revision(database)
        if revision is None:
            if not create:
                raise nothing(url)
            _migrate(database)
        else:
            _check_revision(revision, database.name)
            check_tables(database)
        _use_wal(database)
    finally:
        database.close()


def find(url: URL) -> Database | None:
    """Return a database with our tables, to be read only; None where there is none, or no table.

    Raises:
        InputError: It has an older or newer revision, belongs to somebody else, or cannot be
            reached.
    """
    file = file_of(url)
    if file and not is_there(file):
        return None
    with ExitStack() as stack:
        database = _opened(url, "read")
        stack.callback(database.close)
        revision = _revision(database)
        if revision is None:
            return None
        _check_revision(revision, database.name)
        stack.pop_all()
    return database


def upgrade(url: URL) -> tuple[str, str]:
    """Bring an older store to the present revision; return the revisions before and after.

    It happens as a whole or not at all.

    Raises:
        InputError: There is no store, or it is newer than this schedsearch.
    """
    database = _opened(url, "write")
    try:
        before = _revision(database)
        if before is None:
            raise InputError(f"{database.name} is empty; there is nothing to upgrade")
        if before != REVISION:
            if before not in _known():
                raise _other_revision(before, database.name)
            _migrate(database)
        return before, REVISION
    finally:
        database.close()


def missing(connection: Connection) -> list[Table | Column[Any]]:
    """Return the tables, and columns of other tables, that a database of our revision lacks."""
    if connection.dialect.name == "sqlite":
        listed = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
    else:
        listed = (
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema()"
        )
    there = {tuple(row) for row in connection.execute(text(listed))}
    tables = {table for table, _ in there}
    lacking: list[Table | Column[Any]] = []
    for name, table in Base.metadata.tables.items():
        if name in tables:
            lacking += [one for one in table.columns if (name, one.name) not in there]
        else:
            lacking.append(table)
    return lacking


def absence(of: Table | Column[Any]) -> str:
    """Return a sentence for a table or column that is missing."""
    if isinstance(of, Table):
        return f"table `{of.name}` is missing"
    return f"column `{of.name}` of table `{of.table.description}` is missing"


def check_tables(database: Database) -> None:
    """See that every table has every column.

    Raises:
        InputError: One is missing.
    """
    with database.reading() as connection:
        for one in missing(connection):
            raise DamagedCell(absence(one))


def _opened(url: URL, access: Access) -> Database:
    file = file_of(url)
    if file and is_there(file):
        if access != "read":
            check_writable(file)
    elif file:
        if access != "create":
            raise nothing(url)
        check_folder(file)
    # Foreign keys stay off: SQLite changes a table by rebuilding it, which deletes what they guard.
    return Database(url, access, foreign_keys=False)


def _revision(database: Database) -> str | None:
    """Return the revision of our tables, None where there is no table at all."""
    with database.reading() as connection:
        tables = set(inspect(connection).get_table_names())
        if VERSION_TABLE in tables:
            revision = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
            if not isinstance(revision, str):
                raise DamagedCell(f"the revision in `{VERSION_TABLE}` is {revision!r}")
            return revision
        if len(tables & Base.metadata.tables.keys()) > 1:
            raise DamagedCell(f"table `{VERSION_TABLE}` is missing")
    if tables:
        raise InputError(
            f"{database.name} is another program's database (it holds `{min(tables)}`); give a "
            f"store its own file or its own database"
        )
    return None


def _migrate(database: Database) -> None:
    from alembic import command

    _use_wal(database)
    with database.writing() as connection:
        if not database.file:  # whose writers exclude each other without being told
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK}
            )
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _use_wal(database: Database) -> None:
    """Readers and the writer do not wait for each other; the file remembers it."""
    if database.file is None:
        return
    with database.driver() as connection:
        mode = _switched_to_wal(connection)
    if mode != "wal":
        raise InputError(
            f"the file system of {database.file} cannot share memory between processes, which "
            f"SQLite's write-ahead log needs; put the store on a local disk or use PostgreSQL"
        )


def _switched_to_wal(connection: sqlite3.Connection) -> str:
    """Ask for the write-ahead log; return the mode that the file is in afterwards.

    SQLite does not wait for the lock of this one: it reads first, and asks to write afterwards.
    """
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode: str = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            return mode
        except sqlite3.OperationalError as error:
            # An extended code has the primary one in its low byte.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def nothing(url: URL) -> InputError:
    """The error for a database without a table, or without a file, where none may be made."""
    file, name = file_of(url), name_of(url)
    if file is None or is_there(file):
        return InputError(f"{name} is empty, there is no store in it; give one that exists")
    return InputError(f"there is no store {name}; give the path of one that exists")


def _check_revision(revision: str, name: str) -> None:
    if revision != REVISION:
        raise _other_revision(revision, name)


def _other_revision(revision: str, name: str) -> InputError | RunError:
    if revision in _known():
        return InputError(
            f"{name} has tables of revision {revision}, but this schedsearch works with "
            f"{REVISION}; make a backup and run `schedsearch db upgrade`"
        )
    if not re.fullmatch("[0-9]{4}", revision) or revision < REVISION:
        return described("damaged", name, f"the revision in `{VERSION_TABLE}` is {revision!r:.60}")
    return InputError(
        f"{name} was written by a newer schedsearch (tables of revision {revision}, here "
        f"{REVISION}); install that version or a later one"
    )


def _known() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
