"""What requests with an idempotency key were answered, in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select, update

from schedsearch.errors import SchedsearchError
from schedsearch.store.codec import storable
from schedsearch.store.database import insert_or_ignore
from schedsearch.store.tables import AnswerRow

KEPT = timedelta(hours=24)
"""For so long a key is remembered."""

WORKING = timedelta(minutes=5)
"""Longer than any request works: one without an answer by then has died with its server."""


class KeyInUseError(SchedsearchError):
    """A key was used for another request, or its request is still at work."""


@dataclass(frozen=True)
class Reply:
    """What a request was answered.

    Attributes:
        status: HTTP status.
        headers: Those that belong to the reply.
        body: Text of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: str


def begin(connection: Connection, who: str, key: str, request: str) -> Reply | None:
    """Take a key; return what it was answered before, None for a new one.

    Raises:
        KeyInUseError: It was used for another request, or its request is at work.
    """
    now = datetime.now(UTC)
    died = and_(AnswerRow.status.is_(None), AnswerRow.created < now - WORKING)
    connection.execute(delete(AnswerRow).where(or_(AnswerRow.created < now - KEPT, died)))
    added = connection.execute(
        insert_or_ignore(connection, AnswerRow).values(
            who=who,
            key=storable(key, "an idempotency key"),
            request=request,
            created=now,
        )
    )
    if added.rowcount == 1:
        return None
    mine = (AnswerRow.who == who, AnswerRow.key == key)
    row = connection.execute(select(AnswerRow.__table__).where(*mine)).one()
    if row.request != request:
        raise KeyInUseError("this Idempotency-Key was used for another request; choose another")
    if row.status is None:
        raise KeyInUseError("the request of this Idempotency-Key is at work; ask again later")
    headers: dict[str, Any] = row.headers or {}
    return Reply(row.status, headers, row.body or "")


def end(connection: Connection, who: str, key: str, reply: Reply | None) -> None:
    """Keep what a key was answered; None: forget the key, its request had no effect."""
    mine = (AnswerRow.who == who, AnswerRow.key == key)
    if reply is None:
        connection.execute(delete(AnswerRow).where(*mine))
        return
    kept = {"status": reply.status, "headers": dict(reply.headers), "body": reply.body}
    connection.execute(update(AnswerRow).where(*mine).values(**kept))
