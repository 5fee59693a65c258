"""Care of a store: check it, remove what nobody needs, copy it."""

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Connection,
    Delete,
    Select,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    text,
)

from schedsearch.core.trial import TrialState
from schedsearch.errors import InputError, RunError, SchedsearchError
from schedsearch.store.codec import schedule_from_json
from schedsearch.store.database import Database
from schedsearch.store.lease import idle
from schedsearch.store.studies import summaries
from schedsearch.store.tables import (
    AttemptRow,
    Base,
    ContextRow,
    CountsRow,
    EvaluationRow,
    SampleRow,
    ScheduleRow,
    StudyContextRow,
    StudyRow,
    TrialRow,
)


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: Defects, one sentence each; empty for a sound store.
        notes: What is no defect, but good to know.
        rows: How many rows each table has; nothing where the file is damaged.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    rows: Mapping[str, int]


def check(connection: Connection) -> CheckReport:
    """Look at the file, at the references between tables, and at what trials promise."""
    damage = tuple(_damage(connection))
    if damage:  # the rest would read the same pages and fail
        return CheckReport(damage, (), {})
    problems = (
        *_dangling_references(connection),
        *_schedule_problems(connection),
        *_trial_problems(connection),
    )
    rows = {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in Base.metadata.tables.items()
    }
    return CheckReport(problems, tuple(_notes(connection)), rows)


# A PostgreSQL server checks its own files, and nothing turns its references off.


def _damage(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for (finding,) in connection.execute(text("PRAGMA integrity_check")):
            if finding != "ok":
                yield f"the file is damaged: {finding}"


def _dangling_references(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for table, _, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
            yield f"a row of `{table}` refers to a row of `{parent}` that does not exist"


def _schedule_problems(connection: Connection) -> Iterator[str]:
    columns = (ScheduleRow.id, ScheduleRow.digest, ScheduleRow.keep, ScheduleRow.ranker)
    for key, digest, keep, ranker in connection.execute(select(*columns)):
        try:
            sound = schedule_from_json(keep, ranker, None).digest() == digest
        except SchedsearchError:
            sound = False
        if not sound:
            yield f"schedule {key} is not the one that was stored: its digest differs"


def _trial_problems(connection: Connection) -> Iterator[str]:
    numbers = (
        select(StudyRow.name)
        .join(TrialRow, TrialRow.study_id == StudyRow.id)
        .group_by(StudyRow.name)
        .having(func.count() != func.max(TrialRow.number) + 1)
    )
    for name in connection.scalars(numbers):
        yield f"trials of study `{name}` are missing: their numbers have gaps"
    has_open_attempt = exists().where(
        AttemptRow.trial_id == TrialRow.id,
        AttemptRow.number == TrialRow.attempt,
        AttemptRow.ended.is_(None),
    )
    running = TrialRow.state == TrialState.RUNNING
    broken = (
        select(StudyRow.name, TrialRow.number, TrialRow.state)
        .join(TrialRow, TrialRow.study_id == StudyRow.id)
        .where(or_(and_(running, ~has_open_attempt), and_(~running, has_open_attempt)))
        .order_by(StudyRow.name, TrialRow.number)
    )
    for name, number, state in connection.execute(broken):
        yield f"trial {number} of study `{name}` is {state}, which its last attempt contradicts"


def _notes(connection: Connection) -> Iterator[str]:
    for study in summaries(connection):
        running = study.trials.get(TrialState.RUNNING, 0)
        if running and (study.holder is None or study.holder.runs() is False):
            yield (
                f"{running} trial(s) of study `{study.spec.name}` were interrupted; the next run "
                f"takes them up"
            )
    unused = connection.execute(
        select(func.count()).where(EvaluationRow.context_id.in_(_unused_contexts()))
    ).scalar_one()
    if unused:
        yield f"{unused} evaluation(s) belong to no study; `schedsearch db prune` removes them"


def prune(connection: Connection, studies: Collection[str]) -> dict[str, int]:
    """Delete studies, then all that no study uses; return how many rows each table lost.

    Raises:
        InputError: One of the studies does not exist.
        RunError: One of them is being searched.
    """
    if connection.dialect.name == "postgresql":
        # In the order in which other transactions come to them, so that none waits in a circle.
        tables = "study, trial, counts, sample, evaluation, context"
        connection.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
    keys = [idle(connection, name).id for name in studies]
    trials = select(TrialRow.id).where(TrialRow.study_id.in_(keys))
    used_schedule = exists().where(TrialRow.schedule_id == ScheduleRow.id)
    lost = _delete(
        connection,
        delete(AttemptRow).where(AttemptRow.trial_id.in_(trials)),
        delete(TrialRow).where(TrialRow.study_id.in_(keys)),
        delete(StudyContextRow).where(StudyContextRow.study_id.in_(keys)),
        delete(StudyRow).where(StudyRow.id.in_(keys)),
        delete(ScheduleRow).where(~used_schedule),
        delete(EvaluationRow).where(EvaluationRow.context_id.in_(_unused_contexts())),
        delete(ContextRow).where(ContextRow.id.in_(_unused_contexts())),
    )
    # Deleting a row makes the database look for what refers to it. Only here would indexes for
    # that be of use; kept for good they would double the largest table.
    for column in ("counts_id", "sample_id"):
        connection.execute(text(f"CREATE INDEX prune_{column} ON evaluation ({column})"))
    lost |= _delete(
        connection,
        delete(CountsRow).where(~exists().where(EvaluationRow.counts_id == CountsRow.id)),
        delete(SampleRow).where(~exists().where(EvaluationRow.sample_id == SampleRow.id)),
    )
    for column in ("counts_id", "sample_id"):
        connection.execute(text(f"DROP INDEX prune_{column}"))
    return lost


def _delete(connection: Connection, *statements: Delete) -> dict[str, int]:
    return {
        statement.table.description: connection.execute(statement).rowcount
        for statement in statements
    }


def _unused_contexts() -> Select[int]:
    used = exists().where(StudyContextRow.context_id == ContextRow.id)
    return select(ContextRow.id).where(~used)


def compact(database: Database) -> None:
    """Give freed space back to the file system, if no other process is in the way."""
    if database.file:
        with contextlib.suppress(sqlite3.OperationalError), database.driver() as connection:
            connection.execute("VACUUM")


def backup(database: Database, path: str | os.PathLike[str]) -> None:
    """Copy a store that may be in use into a new file, as of one moment.

    Raises:
        InputError: The file exists or cannot be created, or the store is a server's.
    """
    if database.file is None:
        raise InputError(f"{database.name} is a PostgreSQL database; copy it with pg_dump")
    target = Path(path)
    try:
        target.open("xb").close()
    except FileExistsError as error:
        raise InputError(f"{target} exists; give the backup a new name") from error
    except OSError as error:
        raise InputError(f"{target} cannot be created ({error.strerror}); name another") from error
    try:
        with database.driver() as source:
            _copy(source, target)
    except BaseException:
        target.unlink()
        raise


def _copy(source: sqlite3.Connection, target: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    except sqlite3.Error as error:
        raise RunError(
            f"the backup {target} could not be written ({error}); the store itself is unchanged: "
            f"free space or name another place"
        ) from error
