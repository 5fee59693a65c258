"""Calibration sets that were uploaded, in SQL; their files lie elsewhere."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select

from schedsearch.errors import InputError
from schedsearch.store.codec import storable
from schedsearch.store.database import insert_or_ignore
from schedsearch.store.tables import SampleSetRow


@dataclass(frozen=True)
class SampleSetEntry:
    """An uploaded set.

    Attributes:
        digest: Of its content, by which it is named.
        name: What people call it.
        samples: How many it has.
        bytes: What its files take.
        who: Whoever uploaded it first.
        created: When that was.
    """

    digest: str
    name: str
    samples: int
    bytes: int
    who: str
    created: datetime


def add(connection: Connection, digest: str, name: str, samples: int, size: int, who: str) -> bool:
    """Add a set; return whether it is new."""
    added = connection.execute(
        insert_or_ignore(connection, SampleSetRow).values(
            digest=digest,
            name=storable(name, "the name of a set"),
            samples=samples,
            bytes=size,
            who=who,
            created=datetime.now(UTC),
        )
    )
    return added.rowcount == 1


def every(connection: Connection) -> list[SampleSetEntry]:
    """Return all sets, oldest first."""
    rows = connection.execute(select(SampleSetRow.__table__).order_by(SampleSetRow.id))
    found = []
    for row in rows:
        given = dict(row._mapping)
        del given["id"]
        found.append(SampleSetEntry(**given))
    return found


def remove(connection: Connection, digest: str) -> None:
    """Forget a set.

    Raises:
        InputError: There is none.
    """
    removed = connection.execute(delete(SampleSetRow).where(SampleSetRow.digest == digest))
    if removed.rowcount == 0:
        raise InputError(f"there is no uploaded set {digest}; ask for the list of those there are")
