"""What is wrong with a store: its file, its tables, each of its cells, and what trials promise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
    text,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from schedsearch.core.schedule import RankerSpec
from schedsearch.core.trial import TrialState
from schedsearch.errors import SchedsearchError
from schedsearch.store.cells import Cell, Whole
from schedsearch.store.certifications import certification_from_json, request_from_json
from schedsearch.store.codec import (
    decoding,
    holder_from_json,
    params_to_json,
    progress_from_json,
    schedule_from_json,
    spec_from_json,
    stints_from_json,
    target_from_json,
    trial_from_row,
    wish_of,
)
from schedsearch.store.comparisons import comparison_from_json
from schedsearch.store.evaluations import unused_contexts
from schedsearch.store.exhibits import exhibit_from_json
from schedsearch.store.failures import DamagedCell
from schedsearch.store.lease import sinceless
from schedsearch.store.schema import absence, missing
from schedsearch.store.studies import summaries
from schedsearch.store.tables import (
    AttemptRow,
    Base,
    ChangeRow,
    EvaluationRow,
    ScheduleRow,
    StudyRow,
    TrialRow,
)
from schedsearch.store.trials import rows_of

# What is read of a cell beyond its type.
_READERS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("study", "spec"): spec_from_json,
    ("study", "lease_holder"): holder_from_json,
    ("study", "wish"): wish_of,
    ("study", "progress"): progress_from_json,
    ("schedule", "ranker"): lambda body: RankerSpec.from_mapping(**body),
    ("trial", "target"): target_from_json,
    ("trial", "params"): params_to_json,
    ("trial", "state"): TrialState,
    ("attempt", "workers"): stints_from_json,
    ("exhibit", "content"): exhibit_from_json,
    ("certification", "request"): request_from_json,
    ("certification", "result"): certification_from_json,
    ("comparison", "content"): comparison_from_json,
    ("counts", "kept"): lambda kept: [Whole().decode(int(count)) for count in kept.split(",")],
}


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: Defects, one sentence each; empty for a sound store.
        notes: What is no defect, but good to know.
        rows: How many rows each table has, but for marks of changes; nothing where the file is
            damaged.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    rows: Mapping[str, int]


def check(connection: Connection) -> CheckReport:
    """Look at the file, at every cell, at the references between tables, and at all trials."""
    lacking = missing(connection)
    damage = (
        *_damage(connection),
        *map(absence, lacking),
        *_unreadable(connection, set(lacking)),
    )
    if damage:  # the rest would read the same and fail
        return CheckReport(damage, (), {})
    problems = (
        *_dangling_references(connection),
        *_study_problems(connection),
        *_schedule_problems(connection),
        *_trial_problems(connection),
    )
    rows = {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in Base.metadata.tables.items()
        if name != ChangeRow.__tablename__  # nothing that was found
    }
    return CheckReport(problems, tuple(_notes(connection)), rows)


# A PostgreSQL server checks its own files, and nothing turns its references off.


def _damage(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for (finding,) in connection.execute(text("PRAGMA integrity_check")):
            if finding != "ok":
                yield f"the file is damaged: {finding}"


def _unreadable(connection: Connection, lacking: set[Table | Column[Any]]) -> Iterator[str]:
    """Name table, row and column of every cell that cannot be read."""
    with _any_text(connection):
        for table in Base.metadata.sorted_tables:
            columns = [one for one in table.columns if one not in lacking]
            if table in lacking or not columns:
                continue
            # The values as the driver gives them.
            raw = select(*(type_coerce(one, NullType()) for one in columns))
            try:
                for row in connection.execute(raw):
                    for column, value in zip(columns, row, strict=True):
                        problem = _problem(column, value)
                        if problem:
                            yield f"{problem} ({_place(column, columns, row)})"
            except DBAPIError as error:
                yield f"table `{table.name}` cannot be read through: {error.orig}"


def _problem(column: Column[Any], value: object) -> str:
    """Return why a cell cannot be read; empty if it can."""
    assert isinstance(column.type, Cell)
    try:
        content = column.type.decode(value)
        read = _READERS.get((column.table.description, column.name))
        if read is not None and content is not None:
            with decoding("it"):
                read(content)
    except (DamagedCell, SchedsearchError) as error:
        return str(error)
    return ""


def _place(column: Column[Any], columns: Sequence[Column[Any]], row: Sequence[object]) -> str:
    keys = [
        f"{one.name} {value}" for one, value in zip(columns, row, strict=True) if one.primary_key
    ]
    return f"column `{column.name}` of table `{column.table.description}`, row {', '.join(keys)}"


class _NoText(bytes):
    """Bytes that should be text and are not."""


@contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Let SQLite's driver also hand out what is no text; PostgreSQL stores no such thing."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        yield
        return
    driver.text_factory = _text
    try:
        yield
    finally:
        driver.text_factory = str


def _text(value: bytes) -> str | _NoText:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _NoText(value)


def _dangling_references(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for table, _, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
            yield f"a row of `{table}` refers to a row of `{parent}` that does not exist"


def _study_problems(connection: Connection) -> Iterator[str]:
    columns = (StudyRow.name, StudyRow.spec, StudyRow.lease_holder, StudyRow.lease_since)
    for name, spec, holder, since in connection.execute(select(*columns)):
        if spec["name"] != name:
            yield f"study `{name}` is called `{spec['name']}` by its specification"
        if holder is not None and since is None:
            yield sinceless(name)


def _schedule_problems(connection: Connection) -> Iterator[str]:
    columns = (ScheduleRow.id, ScheduleRow.digest, ScheduleRow.keep, ScheduleRow.ranker)
    for key, digest, keep, ranker in connection.execute(select(*columns)):
        try:
            sound = schedule_from_json(keep, ranker, None).digest() == digest
        except DamagedCell:
            sound = False
        if not sound:
            yield f"schedule {key} is not the one that was stored: its digest differs"


def _trial_problems(connection: Connection) -> Iterator[str]:
    for key, name in connection.execute(select(StudyRow.id, StudyRow.name)):
        for row in connection.execute(rows_of(key)):
            try:
                trial_from_row(row)
            except DamagedCell as error:
                yield f"{error} (study `{name}`)"
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
        if running and not study.left:
            yield (
                f"{running} trial(s) of study `{study.spec.name}` were interrupted; the next run "
                f"takes them up"
            )
    unused = connection.execute(
        select(func.count()).where(EvaluationRow.context_id.in_(unused_contexts()))
    ).scalar_one()
    if unused:
        yield f"{unused} evaluation(s) belong to no study; `schedsearch db prune` removes them"
