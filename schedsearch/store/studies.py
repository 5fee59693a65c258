"""Studies in SQL."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from schedsearch.core.progress import Progress, Wish
from schedsearch.core.shown import shown
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import TrialState
from schedsearch.errors import InputError
from schedsearch.store.codec import (
    decoding,
    holder_from_json,
    progress_from_json,
    spec_from_json,
    spec_to_json,
    storable,
    wish_of,
)
from schedsearch.store.database import insert_or_ignore, now
from schedsearch.store.process import Process
from schedsearch.store.tables import StudyRow, TrialRow
from schedsearch.version import VERSION


@dataclass(frozen=True)
class StudySummary:
    """What a list of studies shows.

    Attributes:
        spec: What is searched, on what, and how.
        version: Of schedsearch, when the study was created.
        created: When that was.
        trials: How many there are in each state that occurs.
        holder: The process that searches now, or that ended without saying so.
        wish: What that is asked to do.
        progress: Where it stood at its last heartbeat; None before the first.
        beat: When that was, or when the search began; None where none ever did.
        silence: Seconds since then.
        left: Seconds for which the lease is valid if no other heartbeat comes; 0 where it has
            lapsed or its process has ended, None where nobody holds it.
    """

    spec: StudySpec
    version: str
    created: datetime
    trials: Mapping[TrialState, int]
    holder: Process | None
    wish: Wish
    progress: Progress | None
    beat: datetime | None
    silence: float | None
    left: float | None


def create(connection: Connection, spec: StudySpec) -> bool:
    """Add a study, or find it there with the same specification; return whether it is new.

    Facts that an earlier schedsearch did not keep are filled in.
    """
    added = connection.execute(
        insert_or_ignore(connection, StudyRow).values(
            name=storable(spec.name, "the name of a study"),
            spec=spec_to_json(spec),
            version=VERSION,
            created=datetime.now(UTC),
            lease_token=0,
        )
    )
    if added.rowcount == 0:
        stored = spec_of(connection, spec.name)
        filled = stored.filled(spec)
        _compare(filled, spec)
        if filled != stored:
            changed = update(StudyRow).where(StudyRow.name == spec.name)
            connection.execute(changed.values(spec=spec_to_json(filled)))
    return added.rowcount == 1


def study_id(connection: Connection, name: str) -> int:
    """Return the key of a study.

    Raises:
        InputError: There is none of that name; the message has the nearest one.
    """
    key = connection.scalar(select(StudyRow.id).where(StudyRow.name == name))
    if key is None:
        names = list(connection.scalars(select(StudyRow.name).order_by(StudyRow.name)))
        near = difflib.get_close_matches(name, names, n=1)
        known = ", ".join(f"`{other}`" for other in names) or "none yet"
        hint = f"did you mean `{near[0]}`?" if near else f"studies here: {known}"
        raise InputError(f"there is no study `{name}` in the store; {hint}")
    return key


def spec_of(connection: Connection, name: str) -> StudySpec:
    """Return the specification of a study."""
    key = study_id(connection, name)
    return spec_from_json(
        connection.execute(select(StudyRow.spec).where(StudyRow.id == key)).scalar_one()
    )


def summary(connection: Connection, name: str) -> StudySummary:
    """Return what a list shows of one study."""
    return summaries(connection, StudyRow.id == study_id(connection, name))[0]


def summaries(connection: Connection, *which: ColumnElement[bool]) -> list[StudySummary]:
    """Return the studies of which all this holds, oldest first."""
    trials: dict[int, dict[TrialState, int]] = {}
    counted = select(StudyRow.id, TrialRow.state, func.count()).join(TrialRow).where(*which)
    for key, state, count in connection.execute(counted.group_by(StudyRow.id, TrialRow.state)):
        with decoding("the state of a trial"):
            trials.setdefault(key, {})[TrialState(state)] = count
    rows = connection.execute(select(StudyRow.__table__).where(*which).order_by("id"))
    read_at = now(connection)
    return [_summary(row, trials.get(row.id, {}), read_at) for row in rows.all()]


def _summary(row: Row[Any], trials: Mapping[TrialState, int], read_at: datetime) -> StudySummary:
    process, left, sign = None, None, row.beat or row.lease_since
    if row.lease_holder is not None:
        holder = holder_from_json(row.lease_holder)
        process, left = holder.process, holder.left(sign, read_at) if sign else 0.0
    return StudySummary(
        spec_from_json(row.spec),
        row.version,
        row.created,
        trials,
        process,
        wish_of(row.wish),
        progress_from_json(row.progress) if row.progress is not None else None,
        row.beat,
        (read_at - row.beat).total_seconds() if row.beat else None,
        left,
    )


def _compare(stored: StudySpec, given: StudySpec) -> None:
    difference = stored.difference(given)
    if difference:
        lines = "\n".join(
            f"  {path}: {shown(was)} -> {shown(now)}" for path, was, now in difference
        )
        raise InputError(
            f"study `{given.name}` exists with another specification (stored -> given):\n{lines}\n"
            f"give the stored values to continue it, or another name to start a new study"
        )
