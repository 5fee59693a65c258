"""Trials and their attempts in SQL."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, select, true, type_coerce, update
from sqlalchemy.types import NullType

from schedsearch.core.plugin import ParamValue
from schedsearch.core.schedule import Schedule
from schedsearch.core.stint import Stint
from schedsearch.core.trial import Effort, Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.store.cells import Cell, Whole
from schedsearch.store.codec import (
    MEASURED,
    decoding,
    measurement_to_columns,
    params_to_json,
    plug_in_to_json,
    readable,
    spec_from_json,
    stints_from_json,
    stints_to_json,
    target_to_json,
    trial_from_row,
)
from schedsearch.store.database import insert_or_ignore
from schedsearch.store.failures import DamagedCell
from schedsearch.store.lease import Lease
from schedsearch.store.tables import AttemptRow, ScheduleRow, StudyRow, TrialRow


@dataclass(frozen=True)
class Attempt:
    """One try at a trial.

    Attributes:
        number: Counts from 1 within the trial.
        started: When its work began.
        ended: When it ended; None while it runs, or if its process ended without saying so.
        reason: Why it ended without a measurement; empty otherwise.
        workers: Who worked for it and when, each once; none while it runs, where nobody had to,
            and where it is not known.
    """

    number: int
    started: datetime
    ended: datetime | None
    reason: str
    workers: tuple[Stint, ...] = ()


_ATTEMPT = (
    AttemptRow.number,
    AttemptRow.started,
    AttemptRow.ended,
    AttemptRow.reason,
    AttemptRow.workers,
)


def rows_of(study_id: int, after: int = -1) -> Select[Any]:
    """Return a query for what `trial_from_row` reads: trials of a study after a number."""
    schedule = (ScheduleRow.keep, ScheduleRow.ranker, TrialRow.target)
    told = (TrialRow.params, TrialRow.state, TrialRow.reason, TrialRow.samples, TrialRow.read)
    measured = [getattr(TrialRow, name) for name in MEASURED]
    # Nobody asks for these here; they are read for their damage to be noticed.
    others = (TrialRow.id, TrialRow.attempt, TrialRow.created)
    columns = (TrialRow.number, *schedule, *told, *measured, *others)
    return (
        select(*columns)
        .join(ScheduleRow, ScheduleRow.id == TrialRow.schedule_id)
        .where(TrialRow.study_id == study_id, TrialRow.number > after if after >= 0 else true())
        .order_by(TrialRow.number)
    )


def history(connection: Connection, study_id: int, after: int = -1) -> list[Trial]:
    """Return the trials of a study after a number, by number."""
    found = [trial_from_row(row) for row in _decoded(connection, rows_of(study_id, after))]
    for number, trial in enumerate(found, after + 1):
        if trial.number != number:
            raise DamagedCell(f"trial {number} is missing")
    return found


def _decoded(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, decoded a column at a time: there may be thousands."""
    selected = list(query.selected_columns)
    raw = connection.execute(
        query.with_only_columns(
            *[type_coerce(one, NullType()) for one in selected], maintain_column_froms=True
        )
    )
    columns = [
        one.type.decode_all(values) if isinstance(one.type, Cell) else values
        for one, values in zip(selected, zip(*raw.all(), strict=True), strict=False)
    ]
    return zip(*columns, strict=True)


def attempts(connection: Connection, study_id: int, number: int) -> list[Attempt]:
    """Return all attempts at a trial, in order."""
    rows = connection.execute(
        select(*_ATTEMPT)
        .join(TrialRow, TrialRow.id == AttemptRow.trial_id)
        .where(TrialRow.study_id == study_id, TrialRow.number == number)
        .order_by(AttemptRow.number)
    )
    return [_attempt(*row) for row in rows]


def last_attempts(connection: Connection, study_id: int) -> dict[int, Attempt]:
    """Return the last attempt at every trial that has one, by the number of the trial."""
    last = AttemptRow.number == TrialRow.attempt
    rows = connection.execute(
        select(TrialRow.number, *_ATTEMPT)
        .join(AttemptRow, and_(AttemptRow.trial_id == TrialRow.id, last))
        .where(TrialRow.study_id == study_id)
    )
    return {number: _attempt(*row) for number, *row in rows}


def _attempt(
    number: int,
    started: datetime,
    ended: datetime | None,
    reason: str,
    workers: Mapping[str, Any] | None,
) -> Attempt:
    return Attempt(number, started, ended, reason, stints_from_json(workers))


def effort(connection: Connection, study_id: int) -> Effort:
    """Return what a study has cost before its trials and all attempts have, together."""
    # The database would add up what is damaged, too.
    query = (
        select(AttemptRow.spent, AttemptRow.naive)
        .join(TrialRow, TrialRow.id == AttemptRow.trial_id)
        .where(TrialRow.study_id == study_id)
    )
    rows = list(_decoded(connection, query))
    spent, naive = (math.fsum(row[place] or 0.0 for row in rows) for place in range(2))
    row = select(StudyRow.spec).where(StudyRow.id == study_id)
    before = spec_from_json(connection.execute(row).scalar_one()).spent
    return Effort(before + spent, naive)


def add(
    connection: Connection,
    study_id: int,
    params: Mapping[str, ParamValue],
    schedule: Schedule,
    samples: int | None = None,
) -> Trial:
    """Add a waiting trial under the next number; the study must be locked."""
    numbers = select(func.max(TrialRow.number, type_=Whole(null=True)))
    last = connection.scalar(numbers.where(TrialRow.study_id == study_id))
    number = 0 if last is None else last + 1
    stored = params_to_json(params)
    connection.execute(
        insert(TrialRow).values(
            study_id=study_id,
            number=number,
            schedule_id=_schedule_id(connection, schedule),
            target=target_to_json(schedule.target),
            params=stored,
            samples=samples,
            state=TrialState.WAITING,
            attempt=0,
            reason="",
            created=datetime.now(UTC),
        )
    )
    return Trial(number, stored, schedule, samples=samples)


def find(connection: Connection, study_id: int, schedule: Schedule) -> Trial | None:
    """Return the first trial of this schedule on all samples that has not failed."""
    number = connection.scalar(
        select(func.min(TrialRow.number, type_=Whole(null=True)))
        .join(ScheduleRow, ScheduleRow.id == TrialRow.schedule_id)
        .where(
            TrialRow.study_id == study_id,
            TrialRow.state != TrialState.FAIL,
            TrialRow.samples.is_(None),
            ScheduleRow.digest == schedule.digest(),
        )
    )
    if number is None:
        return None
    with decoding(f"trial {number}"):
        return history(connection, study_id, number - 1)[0]


def start(connection: Connection, lease: Lease, number: int) -> int:
    """Begin the next attempt at a trial; one that is still open ends."""
    row = connection.execute(_trial(lease, number)).one_or_none()
    if row is None:
        raise InputError(f"study `{lease.study}` has no trial {number}; open it first")
    with decoding(f"trial {number}"):
        finished = TrialState(row.state).finished
    if finished:
        raise InputError(
            f"trial {number} is {row.state} and takes no further attempt; open another"
        )
    attempt: int = row.attempt + 1
    if row.attempt:
        ending = {"reason": f"superseded by attempt {attempt}"}
        _end(connection, row.id, row.attempt, ending)
    connection.execute(
        insert(AttemptRow).values(
            trial_id=row.id,
            number=attempt,
            lease_token=lease.token,
            started=datetime.now(UTC),
            reason="",
        )
    )
    connection.execute(
        update(TrialRow)
        .where(TrialRow.id == row.id)
        .values(state=TrialState.RUNNING, attempt=attempt)
    )
    return attempt


def stop(
    connection: Connection,
    lease: Lease,
    number: int,
    attempt: int,
    reason: str,
    cost: Effort,
    workers: Iterable[Stint],
) -> bool:
    """End an attempt without a result, so that the trial waits again."""
    ending = _ending(reason, cost, workers)
    return _leave(connection, lease, number, attempt, ending, {"state": TrialState.WAITING})


def close(
    connection: Connection,
    lease: Lease,
    trial: Trial,
    attempt: int,
    cost: Effort,
    workers: Iterable[Stint],
) -> bool:
    """End a trial with what became of it; a late or repeated result changes nothing."""
    assert trial.state.finished, "only a finished trial can be closed"
    values: dict[str, object] = {
        "state": trial.state,
        "reason": readable(trial.reason),
        "read": trial.read,
    }
    if trial.measurement is not None:
        values |= measurement_to_columns(trial.measurement)
    elif trial.expected is not None:
        values["drop"] = trial.expected
    ending = _ending(trial.reason, cost, workers)
    return _leave(connection, lease, trial.number, attempt, ending, values)


def _leave(
    connection: Connection,
    lease: Lease,
    number: int,
    attempt: int,
    ending: Mapping[str, object],
    values: Mapping[str, object],
) -> bool:
    row = connection.execute(_trial(lease, number)).one_or_none()
    if row is None:
        raise InputError(f"study `{lease.study}` has no trial {number}; open it first")
    left = connection.execute(
        update(TrialRow)
        .where(
            TrialRow.id == row.id,
            TrialRow.state == TrialState.RUNNING,
            TrialRow.attempt == attempt,
        )
        .values(**values)
    )
    if left.rowcount == 1:
        _end(connection, row.id, attempt, ending)
    return left.rowcount == 1


def _ending(reason: str, cost: Effort, workers: Iterable[Stint]) -> dict[str, object]:
    """What the row of an attempt has besides when it ended."""
    return {
        "reason": readable(reason),
        "spent": cost.spent,
        "naive": cost.naive,
        "workers": stints_to_json(workers),
    }


def _end(connection: Connection, trial_id: int, attempt: int, ending: Mapping[str, object]) -> None:
    connection.execute(
        update(AttemptRow)
        .where(
            AttemptRow.trial_id == trial_id,
            AttemptRow.number == attempt,
            AttemptRow.ended.is_(None),
        )
        .values(ended=datetime.now(UTC), **ending)
    )


def _trial(lease: Lease, number: int) -> Select[int, str, int]:
    return select(TrialRow.id, TrialRow.state, TrialRow.attempt).where(
        TrialRow.study_id == lease.study_id, TrialRow.number == number
    )


def _schedule_id(connection: Connection, schedule: Schedule) -> int:
    digest = schedule.digest()
    adding = insert_or_ignore(connection, ScheduleRow).values(
        digest=digest, keep=list(schedule.keep), ranker=plug_in_to_json(schedule.ranker)
    )
    added = connection.execute(adding.returning(ScheduleRow.id)).scalar_one_or_none()
    if added is not None:
        return added
    return connection.execute(
        select(ScheduleRow.id).where(ScheduleRow.digest == digest)
    ).scalar_one()
