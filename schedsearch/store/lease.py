"""The lease: one coordinator per study, and a token that shuts out the one before it."""

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from schedsearch.core.progress import Progress, Wish
from schedsearch.errors import RunError
from schedsearch.store.codec import holder_from_json, holder_to_json, wish_of
from schedsearch.store.database import now
from schedsearch.store.failures import DamagedCell
from schedsearch.store.process import Process
from schedsearch.store.studies import study_id
from schedsearch.store.tables import StudyRow
from schedsearch.store.terms import Holder


class LeaseLostError(RunError):
    """A study is no longer this process's to coordinate."""


@dataclass(frozen=True)
class Lease:
    """The right to coordinate a study.

    Attributes:
        study: Its name.
        study_id: Its key in the store.
        token: Grows whenever the lease changes hands; only the latest one may write.
    """

    study: str
    study_id: int
    token: int


def acquire(connection: Connection, study: str) -> Lease:
    """Take a lease that is free or has lapsed; wishes of before are void."""
    row = idle(connection, study)
    lease = Lease(study, row.id, row.lease_token + 1)
    _write(
        connection,
        row.id,
        lease_token=lease.token,
        lease_holder=holder_to_json(Holder.current()),
        lease_since=(begun := now(connection)),
        beat=begun,
        wish="run",
        progress=None,
    )
    return lease


def idle(connection: Connection, study: str) -> Row[Any]:
    """Lock a study that nobody searches until the transaction ends, and return its row.

    Raises:
        RunError: Its lease is valid.
    """
    row = _found(connection, study)
    if row.lease_holder is not None:
        holder = holder_from_json(row.lease_holder)
        if row.lease_since is None:
            raise DamagedCell(sinceless(study))
        left = holder.left(row.beat or row.lease_since, now(connection))
        if left > 0:
            raise _refusal(study, holder.process, row.lease_since, left)
    return row


def release(connection: Connection, lease: Lease) -> None:
    """Give a lease back; nothing happens if another coordinator has it by now."""
    row = _locked(connection, lease.study_id)
    if row is not None and row.lease_token == lease.token:
        _write(connection, row.id, lease_holder=None, lease_since=None)


def free(connection: Connection, study: str) -> Process | None:
    """Take the lease away from whoever holds it and return that holder."""
    row = _found(connection, study)
    if row.lease_holder is None:
        return None
    _write(connection, row.id, lease_holder=None, lease_since=None)
    return holder_from_json(row.lease_holder).process


def lock(connection: Connection, study: str) -> int:
    """Lock a study until the transaction ends, whoever coordinates it, and return its key."""
    row = _found(connection, study)
    key: int = row.id
    return key


def beat(connection: Connection, lease: Lease, progress: Progress | None) -> Wish:
    """Note that the coordinator is at work, and where it stands; return what is wished of it.

    A lease that has lapsed is valid again, as long as nobody has taken it over.
    """
    row = check(connection, lease)
    _write(connection, row.id, progress=progress and asdict(progress), beat=now(connection))
    return wish_of(row.wish)


def wish(connection: Connection, study: str, wished: Wish) -> Process | None:
    """Leave a wish for whoever searches a study, and return who that is; None if nobody does.

    One whose lease has lapsed may yet come back, and hear it.
    """
    row = _found(connection, study)
    holder = None if row.lease_holder is None else holder_from_json(row.lease_holder).process
    if holder is None or holder.runs() is False:
        return None
    _write(connection, row.id, wish=wished)
    return holder


def check(connection: Connection, lease: Lease) -> Row[Any]:
    """Lock the study until the transaction ends, for the holder of its lease; return its row.

    Raises:
        LeaseLostError: The lease is somebody else's by now.
    """
    row = _locked(connection, lease.study_id)
    if row is None:
        raise LeaseLostError(
            f"study `{lease.study}` has been deleted while this process worked on it; start it "
            f"again if it is still wanted"
        )
    if row.lease_token != lease.token or row.lease_holder is None:
        taken = row.lease_holder and holder_from_json(row.lease_holder).process
        holder = f"{taken} has" if taken else "nobody has"
        raise LeaseLostError(
            f"this process has lost the lease of study `{lease.study}`, which {holder} now; what "
            f"it stored before is safe: let the other process go on, or run again when it has ended"
        )
    return row


def sinceless(study: str) -> str:
    """Return a sentence for a lease that is held since no moment."""
    return f"the lease of study `{study}` does not say since when it is held"


def _found(connection: Connection, study: str) -> Row[Any]:
    row = _locked(connection, study_id(connection, study))
    if row is None:
        raise DamagedCell(f"the row of study `{study}` is missing")
    return row


def _locked(connection: Connection, key: int) -> Row[Any] | None:
    columns = (
        StudyRow.id,
        StudyRow.lease_token,
        StudyRow.lease_holder,
        StudyRow.lease_since,
        StudyRow.beat,
        StudyRow.wish,
    )
    # SQLite has no row locks and ignores the clause; its writers exclude each other anyway.
    return connection.execute(
        select(*columns).where(StudyRow.id == key).with_for_update()
    ).one_or_none()


def _write(connection: Connection, key: int, **values: object) -> None:
    connection.execute(update(StudyRow).where(StudyRow.id == key).values(values))


def _refusal(study: str, holder: Process, since: datetime, left: float) -> RunError:
    when = since.astimezone().isoformat(" ", "seconds")
    return RunError(
        f"study `{study}` is being searched by {holder} since {when}; wait until it has ended, or "
        f"end it with `schedsearch stop {study}`: its lease is valid for {math.ceil(left)} s yet, "
        f"and for longer with each sign it gives"
    )
