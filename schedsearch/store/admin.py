"""Care of a store: remove what nobody needs."""

import contextlib
import sqlite3
from collections.abc import Collection

from sqlalchemy import Connection, Delete, delete, exists, select, text

from schedsearch.store.database import Database
from schedsearch.store.evaluations import unused_contexts
from schedsearch.store.lease import idle
from schedsearch.store.tables import (
    AttemptRow,
    CertificationRow,
    ComparisonRow,
    ContextRow,
    CountsRow,
    EvaluationRow,
    ExhibitRow,
    SampleRow,
    ScheduleRow,
    StudyContextRow,
    StudyRow,
    TrialRow,
)


def prune(connection: Connection, studies: Collection[str]) -> dict[str, int]:
    """Delete studies, then all that no study uses; return how many rows each table lost.

    Raises:
        InputError: One of the studies does not exist.
        RunError: One of them is being searched.
    """
    if connection.dialect.name == "postgresql":
        # In the order in which other transactions come to them, so that none waits in a circle.
        tables = (
            "study, trial, exhibit, certification, comparison, counts, sample, evaluation, context"
        )
        connection.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
    keys = [idle(connection, name).id for name in studies]
    trials = select(TrialRow.id).where(TrialRow.study_id.in_(keys))
    used_schedule = exists().where(TrialRow.schedule_id == ScheduleRow.id)
    lost = _delete(
        connection,
        delete(AttemptRow).where(AttemptRow.trial_id.in_(trials)),
        delete(ExhibitRow).where(ExhibitRow.trial_id.in_(trials)),
        delete(TrialRow).where(TrialRow.study_id.in_(keys)),
        delete(CertificationRow).where(CertificationRow.study_id.in_(keys)),
        delete(ComparisonRow).where(ComparisonRow.study_id.in_(keys)),
        delete(StudyContextRow).where(StudyContextRow.study_id.in_(keys)),
        delete(StudyRow).where(StudyRow.id.in_(keys)),
        delete(ScheduleRow).where(~used_schedule),
        delete(EvaluationRow).where(EvaluationRow.context_id.in_(unused_contexts())),
        delete(ContextRow).where(ContextRow.id.in_(unused_contexts())),
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


def compact(database: Database) -> None:
    """Give freed space back to the file system, if no other process is in the way."""
    if database.file:
        with contextlib.suppress(sqlite3.OperationalError), database.driver() as connection:
            connection.execute("VACUUM")
