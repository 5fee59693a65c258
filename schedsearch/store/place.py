"""The file of an SQLite store: whether it is still the one that was opened, and how to read it."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from schedsearch.core.guards import guarded
from schedsearch.errors import RunError
from schedsearch.store.address import writable
from schedsearch.store.log import INDEX, LOGS, OpenLog, log_of, size_of

_SIDES = (*LOGS, INDEX)
_COPIES = 3


class StoreLostError(RunError):
    """The file of a store that is in use was deleted, moved, emptied or replaced."""


class Place:
    """The file of a store that is written.

    Args:
        path: Of the file.
        create: Make the file where there is none.
    """

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = Path(os.path.abspath(path))
        self._file = Path(os.path.realpath(path))  # which SQLite puts the log beside
        self._create = create
        self._name = str(path)
        self._identity = _identity(self.path)
        self._emptied = False
        self._log = OpenLog(self._file)
        self._open = ExitStack()
        self._open.callback(self._log.close)
        beside = (Path(f"{self._file}{side}") for side in _SIDES)
        self._open.enter_context(guarded(self.path, *beside))

    def connect(self, timeout: float) -> sqlite3.Connection:
        """Return a connection of the driver to the file that was there at first, or to no other."""
        connection = self._connect(timeout)
        try:
            self.check_present()
        except BaseException:
            connection.close()
            raise
        return connection

    def check_present(self) -> None:
        """See that the file is where it was, and still the same.

        SQLite goes on with a file that has no name any more, and what it writes is gone.

        Raises:
            StoreLostError: It is not.
        """
        if self._identity is None:
            return
        found = _identity(self.path)
        if found == self._identity:
            return
        if found is not None:
            raise StoreLostError(f"{self._name} was replaced by another file while it was in use")
        if self.emptied:
            self._emptied = True
            raise StoreLostError(f"{self._name} was emptied while it was in use")
        raise StoreLostError(f"{self._name} was deleted or moved while it was in use")

    @property
    def emptied(self) -> bool:
        """Whether nothing is left in the file; its connections have lost their content, too."""
        try:
            return self.path.stat().st_size == 0
        except OSError:
            return False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See that the file is there; what is read in the block is of one moment."""
        self.check_present()
        yield

    def close(self) -> None:
        """Let others replace the file."""
        self._open.close()

    @property
    def moved(self) -> bool:
        """Whether nothing, or another file, is where SQLite has opened this one."""
        return self._identity is not None and _inode(self._file) != self._identity

    def drop_log(self) -> None:
        """Leave no log beside a lost file's place; a file that was emptied gets nothing of it."""
        if self._emptied or self.emptied:
            self._log.empty()
        elif not self.moved:
            return
        self._log.unlink()

    def _connect(self, timeout: float) -> sqlite3.Connection:
        connection = _connect(self.path, timeout, "mode=rwc" if self._create else "mode=rw")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # which opens the log
        except BaseException:
            connection.close()
            raise
        self._log.hold()
        return connection


class ReadOnlyPlace(Place):
    """The file of a store that is only read, and beside which nothing is left.

    SQLite's readers write, too: locks, and the index of the write-ahead log. Where they may not,
    the file is read with the index of a process at work; without one, as a file that nobody
    changes, which is verified; or as a copy, if there is a log that has yet to be applied.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._copy: Path | None = None
        self._unchanging: object = None

    def check_present(self) -> None:
        """See that the file is where it was; a copy stays, whatever becomes of it."""
        if self._copy is None:
            super().check_present()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See that the file is there, and afterwards that it was not changed.

        Raises:
            RunError: It was.
        """
        self.check_present()
        yield
        if self._unchanging not in (None, self._state()):
            raise self._changed()

    def _connect(self, timeout: float) -> sqlite3.Connection:
        if self._copy is None:
            connection = self._connect_in_place(timeout)
            if connection is not None:
                return connection
            self._copy = self._copied()
        return _reader(self._copy, timeout)

    def _connect_in_place(self, timeout: float) -> sqlite3.Connection | None:
        if writable(self._file) and writable(self._file.parent):
            return _reader(self._file, timeout)
        if all(os.path.exists(f"{self._file}{side}") for side in ("-wal", "-shm")):
            connection = _connect(self._file, timeout, "mode=ro")
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return connection
            except sqlite3.OperationalError:
                connection.close()
        if log_of(self._file) is None:
            self._unchanging = self._unchanging or self._state()
            return _connect(self._file, timeout, "immutable=1")
        return None

    def _copied(self) -> Path:
        """A copy of the file with its logs, in a folder that goes when the place is closed."""
        try:
            folder = tempfile.mkdtemp(prefix="schedsearch-")
            self._open.callback(shutil.rmtree, folder, ignore_errors=True)
            for _ in range(_COPIES):
                state = self._state()
                for end in ("", *LOGS):
                    if size_of(f"{self._file}{end}"):
                        shutil.copyfile(f"{self._file}{end}", Path(folder) / f"store{end}")
                if self._state() == state:
                    return Path(folder) / "store"
        except OSError as error:
            raise RunError(
                f"{self._name} cannot be read where it is, nor copied to {tempfile.gettempdir()} "
                f"({error.strerror}); make room there, or copy it yourself together with "
                f"{self._name}-wal"
            ) from error
        raise self._changed()

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        """What a change of the file or its logs changes; a log without content is none."""
        state = []
        for end in ("", *LOGS):
            try:
                found = os.stat(f"{self._file}{end}")
            except OSError:
                continue
            if found.st_size or not end:
                state.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(state)

    def _changed(self) -> RunError:
        return RunError(f"{self._name} was changed while it was read; run again")


def _connect(path: Path, timeout: float, options: str) -> sqlite3.Connection:
    uri = f"file://{quote(os.fsencode(path))}?{options}"
    return sqlite3.connect(uri, timeout=timeout, uri=True, check_same_thread=False)


def _reader(path: Path, timeout: float) -> sqlite3.Connection:
    connection = _connect(path, timeout, "mode=rw")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file with content."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
