"""Commits that were not answered: the server is asked what became of them."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from schedsearch.store.failures import described

_IN_THE_FUTURE = "22023"
_TIMELINE = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"


@dataclass(frozen=True)
class Commit:
    """A transaction of a PostgreSQL server, as the server will know it later.

    Attributes:
        number: Of the transaction; grows, and is never given again on the same timeline.
        timeline: Of the server. One that takes another's place begins a new timeline, on which the
            same number may belong to somebody else's transaction.
    """

    number: int
    timeline: str

    @classmethod
    def of(cls, connection: Connection) -> Self | None:
        """Return the transaction that is about to be committed; None if it changes nothing."""
        row = connection.execute(text(f"SELECT txid_current_if_assigned(), {_TIMELINE}")).one()
        return None if row[0] is None else cls(*row)


def is_stored(connection: Connection, commit: Commit, name: str) -> bool:
    """Say whether a transaction whose COMMIT was not answered has been stored.

    Args:
        connection: To the same database, though perhaps on another server.
        commit: The transaction.
        name: What messages call the database.

    Raises:
        PassingError: That is not decided yet.
        RunError: It cannot be told any more.
    """
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        raise described("standby", name, "it has yet to take over")
    if connection.scalar(text(f"SELECT {_TIMELINE}")) != commit.timeline:
        raise described("replaced", name, "its log is another")
    try:
        found = connection.scalar(text("SELECT txid_status(:number)"), {"number": commit.number})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _IN_THE_FUTURE:
            raise
        raise described("replaced", name, error.orig) from error
    if found is None:
        raise described("replaced", name, "it does not remember the transaction")
    if found == "in progress":
        raise described("lost", name, "its last transaction has yet to end")
    return bool(found == "committed")
