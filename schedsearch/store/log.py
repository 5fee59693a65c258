"""The write-ahead log beside an SQLite file, and what becomes of it when the file is lost.

SQLite knows a log by its name alone, and nothing in it says to which file it belongs: one that is
left behind is applied to whatever takes the file's place. A log belongs to those who have it open,
so it is held open here, too: then it can be told from another file of that name.
"""

import os
from contextlib import suppress
from pathlib import Path

LOGS = ("-wal", "-journal")
INDEX = "-shm"


def log_of(path: Path) -> Path | None:
    """The log that SQLite would apply to a file at this path, None where there is none."""
    logs = (Path(f"{os.path.realpath(path)}{log}") for log in LOGS)
    return next((log for log in logs if size_of(log)), None)


def size_of(path: str | Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


class OpenLog:
    """The log that this process's connections to a file have open.

    Args:
        file: Path of the database, without links, as SQLite names the log.
    """

    def __init__(self, file: Path) -> None:
        self._log = f"{file}-wal"
        self._index = f"{file}{INDEX}"
        self._descriptor: int | None = None
        self._index_seen: os.stat_result | None = None

    def hold(self) -> None:
        """Take what is at the log's place, while the file at its own is known to be the right one.

        SQLite locks the file and the index, never the log: closing it here gives no lock away.
        """
        if os.name != "posix" or self._is_there():  # elsewhere an open file cannot be replaced
            return
        self.close()
        with suppress(OSError):
            self._descriptor = os.open(self._log, os.O_RDWR)
            self._index_seen = os.stat(self._index)

    def empty(self) -> None:
        """Take its content away: SQLite, which would copy that to the file at its end, cannot."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def unlink(self) -> None:
        """Take it from its place with its index; what another has put there stays.

        Whoever has them open goes on with them. Between the look and the removal no other file can
        be kept from coming there.
        """
        with suppress(OSError):
            if self._is_there():
                os.unlink(self._log)
        with suppress(OSError):
            if self._index_seen and os.path.samestat(self._index_seen, os.stat(self._index)):
                os.unlink(self._index)

    def close(self) -> None:
        """Hold it no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = self._index_seen = None

    def _is_there(self) -> bool:
        """Whether what is at the log's place is the one that is held."""
        try:
            there = os.stat(self._log)
        except OSError:
            return False
        held = self._descriptor
        return held is not None and os.path.samestat(os.fstat(held), there)
