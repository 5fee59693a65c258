"""Databases: where one is, how it is connected to, and what its errors mean to the caller."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, TypeVarTuple

from sqlalchemy import URL, Connection, Engine, Insert, create_engine, event, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    MultipleResultsFound,
    NoResultFound,
    NoSuchModuleError,
)

from schedsearch.core.interrupts import undivided
from schedsearch.errors import InputError, RunError, SchedsearchError
from schedsearch.store.address import FORMS, file_of, name_of
from schedsearch.store.commits import AlreadyStored, Marks, new_mark, set_mark
from schedsearch.store.failures import DamagedCell, described, meaning
from schedsearch.store.patience import Patience
from schedsearch.store.place import Place, ReadOnlyPlace
from schedsearch.store.tables import Base
from schedsearch.store.terms import lease_seconds

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BUSY_SECONDS = 30.0
_VANISHED = {  # libpq's: how long until a server that says nothing more counts as gone
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
Access = Literal["create", "write", "read"]
_DAMAGE = (  # besides what the driver calls an error
    DamagedCell,
    MultipleResultsFound,
    NoResultFound,
    OverflowError,
    UnicodeDecodeError,
)


class Database:
    """Connections to one database, transactions on it, and its errors in our words.

    SQLite runs in WAL mode with foreign keys enforced. A transaction that will write takes the
    write lock as it begins: one that read first and asked for the lock later would fail, not
    wait, if another process wrote in between.

    Args:
        url: As `url_of` gives it.
        access: Whether to read only, and whether a file that is not there is made.
        foreign_keys: Enforce them in SQLite; off only while tables are rebuilt.
        reached: Whether a connection was made before, so that its end is no mistake in the URL.
        patience: For how many seconds `read` and `write` wait for a server that fails.
    """

    def __init__(
        self,
        url: URL,
        access: Access = "write",
        foreign_keys: bool = True,
        reached: bool = False,
        patience: float = 0.0,
    ) -> None:
        self.url = url
        self.file = file_of(url)
        self._reached = reached
        self._place: Place | None = None
        self._marks = Marks()
        self._patience = Patience(patience, self._drop_connections)
        if self.file:
            reads = access == "read"
            self._place = (
                ReadOnlyPlace(self.file) if reads else Place(self.file, access == "create")
            )
        self._engine = self._made_engine(foreign_keys)
        self._writer = self._engine.execution_options(writes=True)
        # SQLite's transactions see one state anyway; PostgreSQL's must ask for it.
        snapshot = {} if self.file else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(**snapshot)

    @property
    def name(self) -> str:
        """What messages call it."""
        return name_of(self.url)

    @property
    def emptied(self) -> bool:
        """Whether the file is there, with nothing in it."""
        return self._place is not None and self._place.emptied

    def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Return what work returns in a transaction of `reading`.

        Where a server fails meanwhile, all of it is done again.
        """

        def attempt() -> T:
            with self.reading() as connection:
                return work(connection, *args)

        return attempt() if self.file else self._patience.outlast(attempt)

    def write(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Return what work returns in a transaction of `writing`.

        Where a server fails meanwhile, all of it is done again: but if only the answer to its
        COMMIT is missing, the server finds out by a mark whether it is stored.
        """
        attempt = self._writing_once(work, *args)
        return attempt() if self.file else self._patience.outlast(attempt)

    def write_now(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Do as `write`, but wait for no server."""
        attempt = self._writing_once(work, *args)
        return attempt() if self.file else self._patience.outlast(attempt, waits=False)

    def stop_waiting(self) -> None:
        """Let `read` and `write` fail at once, until they succeed again."""
        self._patience.end()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing.

        Ctrl-C waits for its end, as in `writing`.
        """
        with self.errors(), undivided(), ExitStack() as stack:
            if self._place:
                stack.enter_context(self._place.reading())
            yield stack.enter_context(self._reader.connect())

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is stored as a whole at the end, or not at all if anything raises.

        Ctrl-C waits for its end: one that is cut may keep the write lock from what ends the search.
        """
        self.check_present()
        with self.errors(), undivided(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def driver(self, lost: bool = False) -> Iterator[Any]:
        """A connection of the driver itself, outside any transaction.

        Args:
            lost: Whether the file is known to be lost; connections that are open still have it.
        """
        with self.errors(), ExitStack() as stack:
            if self._place and not lost:
                stack.enter_context(self._place.reading())
            connection = self._engine.raw_connection()
            stack.callback(connection.close)
            yield connection.driver_connection

    def check_present(self) -> None:
        """See that the file is where it was.

        Raises:
            StoreLostError: It is not; what was stored since is nowhere.
        """
        if self._place:
            self._place.check_present()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the database raises into one of our errors."""
        driver = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (DBAPIError, driver.Error) as error:
            self.check_present()
            cause = error.orig if isinstance(error, DBAPIError) else error
            broken = isinstance(error, DBAPIError) and error.connection_invalidated
            operational = broken or isinstance(cause, driver.OperationalError)
            meant = meaning(cause, self.name, operational)
            if meant is None:
                raise
            raise meant from error
        except _DAMAGE as error:
            raise described("damaged", self.name, error) from error

    def drop_log(self) -> None:
        """Where the file is lost, keep its log from whatever takes its place.

        A file that was moved gets what the log has.
        """
        if self._place is None:
            return
        if self._place.moved:
            with suppress(SchedsearchError), self.driver(lost=True) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._place.drop_log()

    def close(self) -> None:
        """Close all connections."""
        self.drop_log()
        self._engine.dispose()
        if self._place:
            self._place.close()

    def _writing_once(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> Callable[[], T]:
        """A transaction to be tried; it is done no further time once it is stored."""
        mark, done = new_mark(), list[T]()

        def attempt() -> T:
            if self.file:  # where nothing stands between a commit and its answer
                with self.writing() as connection:
                    return work(connection, *args)
            with (
                suppress(AlreadyStored),
                self._marks.answered(mark) as answered,
                self.writing() as connection,
            ):
                set_mark(connection, mark, answered)
                done[:] = [work(connection, *args)]
            return done[0]

        return attempt

    def _drop_connections(self) -> None:
        """Connect anew next time: an address may lead to another server by then."""
        self._engine.dispose()

    def _made_engine(self, foreign_keys: bool) -> Engine:
        try:
            engine = create_engine(self.url, json_serializer=_json, pool_pre_ping=not self.file)
        except NoSuchModuleError as error:
            raise InputError(f"there is no driver {self.url.drivername}; give {FORMS}") from error
        except ModuleNotFoundError as error:
            raise InputError(
                f"a PostgreSQL store needs the driver {error.name}; run "
                f"pip install 'psycopg[binary]' and give "
                f"postgresql://user:password@host/database"
            ) from error
        except ArgumentError as error:
            raise described("unreachable", self.name, error) from error
        if self.file:
            event.listen(engine, "connect", _configure(foreign_keys))
            event.listen(engine, "begin", _begin)
        else:
            event.listen(engine, "connect", _limit_idleness)
            event.listen(engine, "after_cursor_execute", _count_idleness)
        event.listen(engine, "do_connect", self._connect)
        return engine

    def _connect(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        if self._place:
            return self._place.connect(BUSY_SECONDS)
        connection = None
        try:
            if dialect.driver == "psycopg":
                options = _VANISHED | options
            connection = dialect.connect(*arguments, **options)
            if not self._reached:  # some options are read only when a statement runs
                with closing(connection.cursor()) as cursor:
                    cursor.execute("SELECT 1")
                connection.rollback()
        except (dialect.loaded_dbapi.Error, OSError, TypeError, ValueError) as error:
            if connection is not None:
                connection.close()
            # The driver does not say whether the address is wrong or the server gone.
            raise self._unreachable(error) from error
        self._reached = True
        return connection

    def _unreachable(self, error: Exception) -> InputError | RunError:
        state = getattr(error, "sqlstate", None)
        if not self._reached and state is None:
            return described("unreachable", self.name, error)
        return meaning(error, self.name, False) or described("lost", self.name, error)


def now(connection: Connection) -> datetime:
    """The time by the clock that all who use the database share: the server's, where it has one."""
    if connection.dialect.name == "postgresql":
        found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found
    return datetime.now(UTC)


def insert_or_ignore(connection: Connection, table: type[Base]) -> Insert:
    """Return an INSERT that skips rows whose key is there, and counts only the others."""
    statement: Any = sqlite.insert(table)
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table)
    found: Insert = statement.on_conflict_do_nothing()
    return found.execution_options(preserve_rowcount=True)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _configure(foreign_keys: bool) -> Any:
    def configure(connection: Any, _record: Any) -> None:
        # The driver would begin only at the first write, and read without a transaction.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys={int(foreign_keys)}")
        connection.execute("PRAGMA synchronous=NORMAL")

    return configure


def _limit_idleness(connection: Any, _record: Any) -> None:
    """Let the server end a transaction whose process is frozen in it, or has lost its network.

    Others would wait for its locks, and a lease that has lapsed could not be taken over. What the
    address or the server sets itself stays.
    """
    name, limit = "idle_in_transaction_session_timeout", f"{round(1000 * lease_seconds())}ms"
    connection.autocommit = True  # no transaction, of which it could be unknown what became
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            f"SELECT set_config('{name}', '{limit}', false) WHERE current_setting('{name}') = '0'"  # noqa: S608
        )
    connection.autocommit = False


def _count_idleness(
    connection: Connection,
    _cursor: Any,
    _statement: Any,
    _values: Any,
    _context: Any,
    several: bool,
) -> None:
    """Have the server count how long it hears nothing, also after several rows in one go.

    The driver sends those as a pipeline, whose last word stops that clock.
    """
    if several:  # another cursor, as the first one yet says how many rows there were
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT 1")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
