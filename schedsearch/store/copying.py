"""Studies copied from one store to another, with all that was found for them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, insert, select, tuple_

from schedsearch.errors import InputError, RunError
from schedsearch.store import comparisons, evaluations, exhibits, lease, studies
from schedsearch.store.database import Database, insert_or_ignore
from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.tables import (
    AttemptRow,
    Base,
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

Tell = Callable[[str, int, int], object]
_Row = Mapping[str, Any]
_Page = dict[EvaluationKey, Evaluation]

_PAGE = 5000
"""Evaluations in one transaction: others that write need not wait long."""


@dataclass(frozen=True)
class Copied:
    """What was copied of a study.

    Attributes:
        study: Its name.
        trials: How many it has.
        evaluations: Those that the other store did not have.
        is_new: Whether the other store did not have the study.
    """

    study: str
    trials: int
    evaluations: int
    is_new: bool


@dataclass(frozen=True)
class _Study:
    """A study as rows, without the keys that they have in one store."""

    study: _Row
    trials: list[_Row]
    schedules: list[_Row]
    attempts: list[_Row]
    exhibits: list[_Row]
    certifications: list[_Row]
    comparisons: list[_Row]
    contexts: list[_Row]


def untold(_study: str, _done: int, _all: int) -> None:
    """Tell nobody."""


def copy(
    source: Database, target: Database, names: Collection[str], tell: Tell = untold
) -> list[Copied]:
    """Copy studies, or all of them; see `Store.copy_to`."""
    wanted = list(dict.fromkeys(names)) or source.read(_names)
    for name in wanted:  # before anything is copied
        target.read(_check, source.read(_read, name))
    return [_copy(source, target, name, tell) for name in wanted]


def _copy(source: Database, target: Database, name: str, tell: Tell) -> Copied:
    study = source.read(_read, name)
    contexts = {one["id"]: one for one in study.contexts}
    total = source.read(_count, list(contexts))
    done = added = 0
    copied: Counter[str] = Counter()
    tell(name, done, total)
    for key, context in contexts.items():
        for page in _pages(source, key):
            added += target.write(_add, context, page)
            copied[context["digest"]] += len(page)
            done += len(page)
            tell(name, done, total)
    if source.read(_read, name) != study:
        raise RunError(f"study `{name}` was searched while it was copied; copy it again")
    return Copied(name, len(study.trials), added, target.write(_put, study, copied))


def _names(connection: Connection) -> list[str]:
    return list(connection.scalars(select(StudyRow.name).order_by(StudyRow.id)))


def _read(connection: Connection, name: str) -> _Study:
    """Return a study that nobody searches."""
    key = lease.idle(connection, name).id
    trials = select(TrialRow.id).where(TrialRow.study_id == key)
    used = select(TrialRow.schedule_id).where(TrialRow.study_id == key)

    def rows(*columns: Any, joined: Any = None, where: Any, order: Any) -> list[_Row]:
        statement = select(*columns)
        if joined is not None:
            statement = statement.join(joined)
        found = connection.execute(statement.where(where).order_by(*order))
        return [dict(row) for row in found.mappings()]

    of_study = StudyRow.name, StudyRow.spec, StudyRow.version, StudyRow.created
    number = TrialRow.number.label("trial")
    return _Study(
        rows(*of_study, StudyRow.lease_token, where=StudyRow.id == key, order=[StudyRow.id])[0],
        rows(
            *_columns(TrialRow, "id", "study_id", "schedule_id"),
            ScheduleRow.digest.label("schedule"),
            joined=ScheduleRow,
            where=TrialRow.study_id == key,
            order=[TrialRow.number],
        ),
        rows(
            *_columns(ScheduleRow, "id"), where=ScheduleRow.id.in_(used), order=[ScheduleRow.digest]
        ),
        rows(
            *_columns(AttemptRow, "trial_id"),
            number,
            joined=TrialRow,
            where=AttemptRow.trial_id.in_(trials),
            order=[number, AttemptRow.number],
        ),
        rows(
            *_columns(ExhibitRow, "id", "trial_id"),
            number,
            joined=TrialRow,
            where=ExhibitRow.trial_id.in_(trials),
            order=[ExhibitRow.id],
        ),
        rows(
            *_columns(CertificationRow, "id", "study_id"),
            where=CertificationRow.study_id == key,
            order=[CertificationRow.id],
        ),
        rows(
            *_columns(ComparisonRow, "study_id"),
            where=ComparisonRow.study_id == key,
            order=[ComparisonRow.study_id],
        ),
        rows(
            *(ContextRow.id, ContextRow.digest, ContextRow.description),
            joined=StudyContextRow,
            where=StudyContextRow.study_id == key,
            order=[ContextRow.id],
        ),
    )


def _columns(table: type[Base], *without: str) -> list[Any]:
    return [one for one in table.__table__.columns if one.name not in without]


def _count(connection: Connection, contexts: list[int]) -> int:
    counted = select(func.count()).select_from(EvaluationRow)
    return connection.execute(counted.where(EvaluationRow.context_id.in_(contexts))).scalar_one()


def _pages(source: Database, context: int) -> Iterator[_Page]:
    """The evaluations in a context, in the order of their key."""
    last: tuple[int, int] | None = None
    while True:
        page, last = source.read(_page, context, last)
        if page:
            yield page
        if last is None:
            return


def _page(
    connection: Connection, context: int, after: tuple[int, int] | None
) -> tuple[_Page, tuple[int, int] | None]:
    key = EvaluationRow.counts_id, EvaluationRow.sample_id
    statement = (
        select(CountsRow.kept, SampleRow.key, EvaluationRow.score, EvaluationRow.prediction, *key)
        .join(CountsRow, CountsRow.id == EvaluationRow.counts_id)
        .join(SampleRow, SampleRow.id == EvaluationRow.sample_id)
        .where(EvaluationRow.context_id == context)
        .order_by(*key)
        .limit(_PAGE)
    )
    if after is not None:
        statement = statement.where(tuple_(*key) > after)
    rows = connection.execute(statement).all()
    page = {
        (sample, tuple(map(int, kept.split(",")))): Evaluation(score, prediction)
        for kept, sample, score, prediction, _, _ in rows
    }
    return page, (rows[-1][4], rows[-1][5]) if len(rows) == _PAGE else None


def _add(connection: Connection, context: _Row, page: _Page) -> int:
    # The context is looked for each time: nobody's yet, it may have been pruned meanwhile, which
    # `_put` notices.
    key = evaluations.context_key(connection, context["digest"], context["description"])
    return evaluations.add_scores(connection, key, page)


def _check(connection: Connection, study: _Study) -> bool:
    """Say whether the study is there already.

    Raises:
        InputError: Another one has its name.
        RunError: It is being searched there.
    """
    name = study.study["name"]
    if name not in _names(connection):
        return False
    there = _read(connection, name)
    if _content(there) != _content(study):
        told = [
            f"{len(one.trials)} trials, made {one.study['created']:%Y-%m-%d %H:%M}"
            for one in (there, study)
        ]
        raise InputError(
            f"the other store has another study `{name}` ({told[0]}; here {told[1]}); delete that "
            f"with `schedsearch db prune`, or copy to another store"
        )
    return True


def _content(study: _Study) -> _Study:
    """What a study and its copy have in common; a search that finds nothing to do takes a token.

    Exhibits may be recorded, and results compared, at any time.
    """
    known = {**study.study, "lease_token": 0}
    return replace(study, study=known, exhibits=[], comparisons=[], contexts=[])


def _put(connection: Connection, study: _Study, copied: Mapping[str, int]) -> bool:
    """Add a study, if it is not there, and its contexts; say whether it is new.

    Raises:
        RunError: Of the evaluations, which were copied before, some are gone.
    """
    is_new = (
        connection.execute(insert_or_ignore(connection, StudyRow).values(study.study)).rowcount == 1
    )
    key = studies.study_id(connection, study.study["name"])
    if is_new:
        _put_rows(connection, key, study)
    else:
        _check(connection, study)
    _put_exhibits(connection, key, study)
    for row in study.comparisons:
        comparisons.put_row(connection, key, **row)
    for context in study.contexts:
        digest = context["digest"]
        there = evaluations.context_id(connection, key, digest, context["description"])
        if _count(connection, [there]) < copied[digest]:  # nobody's yet, they could be pruned
            raise RunError(
                f"evaluations of study `{study.study['name']}` were pruned while they were copied; "
                f"copy it again"
            )
    return is_new


def _put_rows(connection: Connection, key: int, study: _Study) -> None:
    if study.schedules:
        connection.execute(insert_or_ignore(connection, ScheduleRow), study.schedules)
    digests = [one["digest"] for one in study.schedules]
    schedules = evaluations.ids(connection, ScheduleRow.digest, digests)
    _insert(
        connection,
        TrialRow,
        [
            {
                **_without(row, "schedule"),
                "study_id": key,
                "schedule_id": schedules[row["schedule"]],
            }
            for row in study.trials
        ],
    )
    trials = _trials(connection, key)
    _insert(
        connection,
        AttemptRow,
        [{**_without(row, "trial"), "trial_id": trials[row["trial"]]} for row in study.attempts],
    )
    _insert(
        connection, CertificationRow, [{**row, "study_id": key} for row in study.certifications]
    )


def _put_exhibits(connection: Connection, key: int, study: _Study) -> None:
    """Add the exhibits that are not there."""
    trials = _trials(connection, key)
    rows = [{**_without(row, "trial"), "trial_id": trials[row["trial"]]} for row in study.exhibits]
    if rows:
        connection.execute(insert_or_ignore(connection, ExhibitRow), rows)
        exhibits.keep_latest(connection, key)


def _trials(connection: Connection, key: int) -> dict[int, int]:
    """Keys of a study's trials by their numbers."""
    numbers = select(TrialRow.number, TrialRow.id).where(TrialRow.study_id == key)
    return {number: trial for number, trial in connection.execute(numbers)}


def _insert(connection: Connection, table: type[Base], rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _without(row: _Row, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
