"""The state of a database's tables: created when new, checked when opened, upgraded on demand."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, inspect, text

from schedsearch.errors import InputError
from schedsearch.store.database import Database
from schedsearch.store.tables import REVISION, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
_CREATION_LOCK = 0x5C4ED  # any number that no other program locks


def prepare(url: URL, create: bool) -> None:
    """Make sure that a database holds exactly our tables; an empty one gets them.

    Raises:
        InputError: It has an older or newer revision, belongs to somebody else, cannot be
            reached, or does not exist and `create` is off.
    """
    database = _opened(url, create)
    try:
        revision = _revision(database)
        if revision is None:
            _migrate(database)
        elif revision != REVISION:
            raise _other_revision(revision, database.name)
        _use_wal(database)
    finally:
        database.close()


def upgrade(url: URL) -> tuple[str, str]:
    """Bring an older store to the present revision; return the revisions before and after.

    It happens as a whole or not at all.

    Raises:
        InputError: There is no store, or it is newer than this schedsearch.
    """
    database = _opened(url, create=False)
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


def _opened(url: URL, create: bool) -> Database:
    # Foreign keys stay off: SQLite changes a table by rebuilding it, which deletes what they guard.
    database = Database(url, foreign_keys=False)
    file = database.file
    if file and not file.exists():
        if not create:
            raise InputError(f"there is no store {file}; give the path of one that exists")
        if not file.parent.is_dir():
            raise InputError(f"the folder of {file} does not exist; create {file.parent} first")
    if file and file.is_dir():
        raise InputError(f"the store must be a file, but {file} is a folder; name a file in it")
    return database


def _revision(database: Database) -> str | None:
    """Return the revision of our tables, None where there is no table at all."""
    with database.reading() as connection:
        tables = set(inspect(connection).get_table_names())
        if VERSION_TABLE in tables:
            revision: str = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
            return revision
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
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise InputError(
            f"the file system of {database.file} cannot share memory between processes, which "
            f"SQLite's write-ahead log needs; put the store on a local disk or use PostgreSQL"
        )


def _other_revision(revision: str, name: str) -> InputError:
    if revision in _known():
        return InputError(
            f"{name} has tables of revision {revision}, but this schedsearch works with "
            f"{REVISION}; make a backup and run `schedsearch db upgrade`"
        )
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
