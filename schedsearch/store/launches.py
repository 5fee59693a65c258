"""Studies that a service was asked to search, in SQL: a queue that outlives every server."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from schedsearch.errors import InputError, SchedsearchError
from schedsearch.store.codec import decoding, storable
from schedsearch.store.tables import LaunchRow

State = Literal["CREATED", "QUEUED", "STARTED", "ENDED"]
_STATES: dict[str, State] = {
    "CREATED": "CREATED",
    "QUEUED": "QUEUED",
    "STARTED": "STARTED",
    "ENDED": "ENDED",
}

CLAIM_SECONDS = 120.0
"""A coordinator that has not claimed its launch after so long is not going to."""


class ChangedError(SchedsearchError):
    """Somebody else has changed a launch meanwhile."""


class StateError(SchedsearchError):
    """A launch is in no state for what is asked."""


@dataclass(frozen=True)
class Launch:
    """A study that a service was asked to search.

    Attributes:
        study: Its name.
        content: Of its study file.
        version: Grows with every change that somebody asks for.
        state: `CREATED`: nothing was asked yet; `QUEUED`: it waits for room; `STARTED`: a
            coordinator was begun; `ENDED`: it has gone.
        who: Whoever created it.
        created: When that was.
        queued: When it was last asked to start.
        started: When a coordinator was last begun.
        ended: When that ended.
        backend: Which begins coordinators.
        attempt: How often one was begun.
        handle: The coordinator, as the backend finds it; None until it has claimed the launch.
        ending: How the search ended, as `Run` says it, or `failed`; empty before.
        reason: Why it failed.
    """

    study: str
    content: Mapping[str, Any]
    version: int
    state: State
    who: str
    created: datetime
    queued: datetime | None
    started: datetime | None
    ended: datetime | None
    backend: str
    attempt: int
    handle: Mapping[str, Any] | None
    ending: str
    reason: str


def add(
    connection: Connection, study: str, content: Mapping[str, Any], who: str, backend: str
) -> Launch:
    """Add a launch; of one study there is one.

    Raises:
        InputError: There is one of this name.
    """
    if find(connection, study) is not None:
        raise InputError(
            f"there is a study `{study}` already; start or change that one, or choose another name"
        )
    connection.execute(
        insert(LaunchRow).values(
            study=storable(study, "the name of a study"),
            content=dict(content),
            version=1,
            state="CREATED",
            who=who,
            created=datetime.now(UTC),
            backend=backend,
            attempt=0,
            ending="",
            reason="",
        )
    )
    return _get(connection, study)


def find(connection: Connection, study: str) -> Launch | None:
    """Return the launch of a study; None where it was made without a service."""
    query = select(LaunchRow.__table__).where(LaunchRow.study == study)
    row = connection.execute(query).one_or_none()
    return None if row is None else _launch(row)


def every(connection: Connection) -> list[Launch]:
    """Return all launches, oldest first."""
    rows = connection.execute(select(LaunchRow.__table__).order_by(LaunchRow.id))
    return [_launch(row) for row in rows]


def change(
    connection: Connection, study: str, version: int | None, content: Mapping[str, Any]
) -> Launch:
    """Give a launch that nobody searches another content.

    Raises:
        ChangedError: It is of another version by now.
        StateError: It waits or is at work.
    """
    _idle(connection, study, version, "changed")
    changed = update(LaunchRow).where(LaunchRow.study == study)
    connection.execute(changed.values(content=dict(content), version=LaunchRow.version + 1))
    return _get(connection, study)


def remove(connection: Connection, study: str, version: int | None) -> None:
    """Remove a launch that nobody searches; what was found stays.

    Raises:
        ChangedError: It is of another version by now.
        StateError: It waits or is at work.
    """
    _idle(connection, study, version, "deleted")
    connection.execute(delete(LaunchRow).where(LaunchRow.study == study))


def queue(connection: Connection, study: str) -> Launch:
    """Have a launch wait for room; one that waits or is at work stays as it is."""
    known = _locked(connection, study)
    if known.state in ("CREATED", "ENDED"):
        _set(connection, study, state="QUEUED", queued=datetime.now(UTC), ending="", reason="")
    return _get(connection, study)


def withdraw(connection: Connection, study: str) -> Launch:
    """Have a launch that waits wait no longer, for room or for its coordinator.

    A coordinator that comes later finds itself not wanted. Any other launch stays as it is.
    """
    known = _locked(connection, study)
    if known.state == "QUEUED":
        _set(connection, study, state="CREATED")
    elif known.state == "STARTED" and known.handle is None:
        _set(connection, study, state="ENDED", ended=datetime.now(UTC), ending="stopped")
    return _get(connection, study)


def take(connection: Connection, most: int) -> Launch | None:
    """Begin the launch that has waited longest, where fewer than so many are at work.

    Returns:
        The launch, which is for the caller to have begun; None where there is none, or no room.
    """
    _one_at_a_time(connection)
    at_work = select(func.count()).select_from(LaunchRow).where(LaunchRow.state == "STARTED")
    if connection.execute(at_work).scalar_one() >= most:
        return None
    waiting = select(LaunchRow.study).where(LaunchRow.state == "QUEUED")
    study = connection.scalar(waiting.order_by(LaunchRow.queued, LaunchRow.id).limit(1))
    if study is None:
        return None
    _set(
        connection,
        study,
        state="STARTED",
        started=datetime.now(UTC),
        ended=None,
        handle=None,
        attempt=LaunchRow.attempt + 1,
    )
    return _get(connection, study)


def claim(connection: Connection, study: str, attempt: int, handle: Mapping[str, Any]) -> Launch:
    """Be the coordinator of a launch, begun for this attempt.

    Raises:
        StateError: It is not this one that is at work, or another coordinator has claimed it.
    """
    known = _locked(connection, study)
    mine = known.state == "STARTED" and known.attempt == attempt and known.handle is None
    if not mine:
        raise StateError(f"attempt {attempt} at `{study}` is not wanted any more")
    _set(connection, study, handle=dict(handle))
    return _get(connection, study)


def end(connection: Connection, study: str, attempt: int, ending: str, reason: str = "") -> None:
    """Note how the search of an attempt has ended; nothing happens where that is known."""
    known = _locked(connection, study)
    if known.state == "STARTED" and known.attempt == attempt:
        _set(
            connection,
            study,
            state="ENDED",
            ended=datetime.now(UTC),
            ending=ending,
            reason=reason,
        )


def requeue_unclaimed(connection: Connection) -> int:
    """Have launches wait again whose coordinator never came; return how many."""
    before = datetime.now(UTC) - timedelta(seconds=CLAIM_SECONDS)
    lost = update(LaunchRow).where(
        LaunchRow.state == "STARTED", LaunchRow.handle.is_(None), LaunchRow.started < before
    )
    return connection.execute(lost.values(state="QUEUED")).rowcount


def _idle(connection: Connection, study: str, version: int | None, what: str) -> None:
    known = _locked(connection, study)
    if version is not None and known.version != version:
        raise ChangedError(
            f"study `{study}` is of version {known.version} by now, not {version}; look at it again"
        )
    if known.state in ("QUEUED", "STARTED"):
        raise StateError(f"study `{study}` is {known.state} and cannot be {what}; stop it first")


def _locked(connection: Connection, study: str) -> Launch:
    """The launch, which no other transaction changes until this one has ended."""
    query = select(LaunchRow.__table__).where(LaunchRow.study == study).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise InputError(f"study `{study}` was not created through the service; create it")
    return _launch(row)


def _get(connection: Connection, study: str) -> Launch:
    found = find(connection, study)
    assert found is not None
    return found


def _set(connection: Connection, study: str, **values: Any) -> None:
    connection.execute(update(LaunchRow).where(LaunchRow.study == study).values(**values))


def _one_at_a_time(connection: Connection) -> None:
    """Count and take as one; a SQLite file has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE launch IN SHARE ROW EXCLUSIVE MODE"))


def _launch(row: Row[Any]) -> Launch:
    given = dict(row._mapping)
    del given["id"]
    with decoding("the state of a launch"):
        given["state"] = _STATES[row.state]
    return Launch(**given)
