"""Databases: where one is, how it is connected to, and what its errors mean to the caller."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Insert, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from schedsearch.errors import InputError
from schedsearch.store.failures import meaning
from schedsearch.store.tables import Base

_BUSY_SECONDS = 30.0
_FORMS = "a path such as runs.db, or postgresql://user:password@host/database"


def url_of(target: str | os.PathLike[str]) -> URL:
    """Return the URL of a store given as one, or as the path of an SQLite file.

    Raises:
        InputError: It is neither, or a database that cannot be a store.
    """
    text = os.fspath(target)
    if "://" not in text:
        if text in ("", ":memory:"):
            raise InputError(f"a store must outlast the process, but got {text!r}; give {_FORMS}")
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InputError(f"the address of the store cannot be read; give {_FORMS}") from error
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InputError(
            f"the store must be SQLite or PostgreSQL, but got {backend}://...; give {_FORMS}"
        )
    if backend == "sqlite" and (url.query or url.database in (None, "", ":memory:")):
        raise InputError(
            f"an SQLite store must be a plain file, but got {text}; give its path: runs.db"
        )
    return url


class Database:
    """Connections to one database, transactions on it, and its errors in our words.

    SQLite runs in WAL mode with foreign keys enforced. A transaction that will write takes the
    write lock as it begins: one that read first and asked for the lock later would fail, not
    wait, if another process wrote in between.

    Args:
        url: As `url_of` gives it.
        foreign_keys: Enforce them in SQLite; off only while tables are rebuilt.
    """

    def __init__(self, url: URL, foreign_keys: bool = True) -> None:
        self.url = url
        self.file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
        self._engine = _engine(url, foreign_keys)
        self._writer = self._engine.execution_options(writes=True)
        # SQLite's transactions see one state anyway; PostgreSQL's must ask for it.
        snapshot = {} if self.file else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(**snapshot)

    @property
    def name(self) -> str:
        """What messages call it: the path of the file, or the URL without the password."""
        return str(self.file or self.url.render_as_string(hide_password=True))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self.errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is stored as a whole at the end, or not at all if anything raises."""
        with self.errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """A connection of the driver itself, outside any transaction."""
        with self.errors():
            connection = self._engine.raw_connection()
            try:
                yield connection.driver_connection
            finally:
                connection.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the database raises into one of our errors."""
        driver = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (DBAPIError, driver.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            meant = meaning(cause, self.name, isinstance(cause, driver.OperationalError))
            if meant is None:
                raise
            raise meant from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def insert_or_ignore(connection: Connection, table: type[Base]) -> Insert:
    """Return an INSERT that skips rows whose key is there, and counts only the others."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement: Insert = insert(table).on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


def _engine(url: URL, foreign_keys: bool) -> Engine:
    is_file = url.get_backend_name() == "sqlite"
    try:
        engine = create_engine(
            url,
            json_serializer=_json,
            pool_pre_ping=not is_file,
            connect_args={"timeout": _BUSY_SECONDS} if is_file else {},
        )
    except NoSuchModuleError as error:
        raise InputError(f"there is no driver {url.drivername}; give {_FORMS}") from error
    except ModuleNotFoundError as error:
        raise InputError(
            f"a PostgreSQL store needs the driver {error.name}; run pip install 'psycopg[binary]' "
            f"and give postgresql://user:password@host/database"
        ) from error
    if is_file:
        event.listen(engine, "connect", _configure(foreign_keys))
        event.listen(engine, "begin", _begin)
    return engine


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _configure(foreign_keys: bool) -> Any:
    def configure(connection: Any, _record: Any) -> None:
        # The driver would begin only at the first write, and read without a transaction.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys={int(foreign_keys)}")
        connection.execute("PRAGMA synchronous=NORMAL")

    return configure


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
