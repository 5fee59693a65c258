"""Commits that were not answered: a mark in each transaction tells whether it is stored.

A server's own number of a transaction would not do: after a crash it is given to somebody else's,
and on the server that takes over it says nothing.
"""

import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, text

_KEPT = timedelta(days=7)
"""How long a mark stays of which nobody knows that it was answered."""

_REMOVED = "WITH removed AS (DELETE FROM change WHERE {})"
_ADDED = "INSERT INTO change (mark, created) VALUES (:mark, now()) ON CONFLICT DO NOTHING"
_ADD = text(f"{_REMOVED.format('mark = ANY(:answered)')} {_ADDED}")
# A process that has none of its own yet removes what others have left.
_BEGIN = text(f"{_REMOVED.format('created < now() - :kept')} {_ADDED}")


class AlreadyStored(Exception):  # noqa: N818 - never leaves the store
    """A transaction of the same mark is stored."""


class Marks:
    """The marks of one process, whichever of its threads sets them."""

    def __init__(self) -> None:
        self._answered: deque[str] = deque()

    @contextmanager
    def answered(self, mark: str) -> Iterator[list[str]]:
        """Marks that the transaction in the block removes, as nobody will ask for them.

        Args:
            mark: Of this transaction; joins them when it is known to be stored.
        """
        before = list[str]()
        with suppress(IndexError):
            while True:
                before.append(self._answered.popleft())
        try:
            yield before
        except BaseException as error:
            self._answered += [*before, mark] if isinstance(error, AlreadyStored) else before
            raise
        self._answered.append(mark)


def new_mark() -> str:
    """Return what no other transaction is marked by."""
    return uuid.uuid4().hex


def set_mark(connection: Connection, mark: str, answered: list[str]) -> None:
    """Mark a transaction as it begins; where one of that mark has yet to end, wait for it.

    Args:
        connection: To PostgreSQL.
        mark: The mark.
        answered: Marks that are removed.

    Raises:
        AlreadyStored: That one is stored.
    """
    if answered:
        found = connection.execute(_ADD, {"mark": mark, "answered": answered})
    else:
        found = connection.execute(_BEGIN, {"mark": mark, "kept": _KEPT})
    if found.rowcount == 0:
        raise AlreadyStored
