"""The lease: one coordinator per study, and a token that shuts out the one before it."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from schedsearch.core.progress import Progress, Wish
from schedsearch.errors import RunError
from schedsearch.store.codec import process_from_json, wish_of
from schedsearch.store.database import now
from schedsearch.store.failures import DamagedCell
from schedsearch.store.process import Process
from schedsearch.store.studies import study_id
from schedsearch.store.tables import StudyRow


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
    """Take a lease that is free, or whose holder is known to be gone; wishes of before are void."""
    row = idle(connection, study)
    lease = Lease(study, row.id, row.lease_token + 1)
    _set(connection, row.id, lease.token, Process.current())
    begun = {"wish": "run", "progress": None, "beat": now(connection)}
    connection.execute(update(StudyRow).where(StudyRow.id == row.id).values(begun))
    return lease


def idle(connection: Connection, study: str) -> Row[Any]:
    """Lock a study that nobody searches until the transaction ends, and return its row.

    Raises:
        RunError: Its lease is held, or held where this process cannot look.
    """
    row = _found(connection, study)
    if row.lease_holder is not None:
        holder = process_from_json(row.lease_holder)
        running = holder.runs()
        if row.lease_since is None:
            raise DamagedCell(sinceless(study))
        if running is not False:
            raise _refusal(study, holder, row.lease_since, known=running is True)
    return row


def release(connection: Connection, lease: Lease) -> None:
    """Give a lease back; nothing happens if another coordinator has it by now."""
    row = _locked(connection, lease.study_id)
    if row is not None and row.lease_token == lease.token:
        _set(connection, row.id, row.lease_token, None)


def free(connection: Connection, study: str) -> Process | None:
    """Take the lease away from whoever holds it and return that holder."""
    row = _found(connection, study)
    if row.lease_holder is None:
        return None
    _set(connection, row.id, row.lease_token, None)
    return process_from_json(row.lease_holder)


def lock(connection: Connection, study: str) -> int:
    """Lock a study until the transaction ends, whoever coordinates it, and return its key."""
    row = _found(connection, study)
    key: int = row.id
    return key


def beat(connection: Connection, lease: Lease, progress: Progress | None) -> Wish:
    """Note that the coordinator is at work, and where it stands; return what is wished of it."""
    row = check(connection, lease)
    told = {"progress": progress and asdict(progress), "beat": now(connection)}
    connection.execute(update(StudyRow).where(StudyRow.id == row.id).values(told))
    return wish_of(row.wish)


def wish(connection: Connection, study: str, wished: Wish) -> Process | None:
    """Leave a wish for whoever searches a study, and return who that is; None if nobody does."""
    row = _found(connection, study)
    holder = None if row.lease_holder is None else process_from_json(row.lease_holder)
    if holder is None or holder.runs() is False:
        return None
    connection.execute(update(StudyRow).where(StudyRow.id == row.id).values(wish=wished))
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
        holder = f"{process_from_json(row.lease_holder)} has" if row.lease_holder else "nobody has"
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
        StudyRow.wish,
    )
    # SQLite has no row locks and ignores the clause; its writers exclude each other anyway.
    return connection.execute(
        select(*columns).where(StudyRow.id == key).with_for_update()
    ).one_or_none()


def _set(connection: Connection, key: int, token: int, holder: Process | None) -> None:
    connection.execute(
        update(StudyRow)
        .where(StudyRow.id == key)
        .values(
            lease_token=token,
            lease_holder=asdict(holder) if holder else None,
            lease_since=datetime.now(UTC) if holder else None,
        )
    )


def _refusal(study: str, holder: Process, since: datetime, known: bool) -> RunError:
    when = since.astimezone().isoformat(" ", "seconds")
    if known:
        remedy = "wait until it has ended, or end it"
    else:
        remedy = (
            f"whether it still runs cannot be seen from here: if it does not, run "
            f"`schedsearch db free {study}`"
        )
    return RunError(f"study `{study}` is being searched by {holder} since {when}; {remedy}")
