"""Evaluations in SQL: the score of a sample under its counts, found again by content."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    column,
    exists,
    func,
    select,
    type_coerce,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from schedsearch.errors import RunError
from schedsearch.store.cells import Real
from schedsearch.store.codec import readable, storable
from schedsearch.store.database import insert_or_ignore
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.tables import (
    Base,
    ContextRow,
    CountsRow,
    EvaluationRow,
    SampleRow,
    StudyContextRow,
)

EvaluationKey = tuple[str, tuple[int, ...]]
"""What a score belongs to within a context: a sample's key, and the vision tokens that each layer
keeps of this sample. The key stands for the content (question, answers, images), not for a place in
a set: equal keys share scores, in all studies."""


class Evaluation(NamedTuple):
    """The metric on one sample (larger is better), and what the model answered, if it spoke."""

    score: float
    prediction: str | None = None


def context_id(
    connection: Connection, study_id: int, digest: str, description: Mapping[str, Any]
) -> int:
    """Return the key of a context, added if it is new, and note that the study uses it."""
    key = context_key(connection, digest, description)
    connection.execute(
        insert_or_ignore(connection, StudyContextRow).values(study_id=study_id, context_id=key)
    )
    return key


def context_key(connection: Connection, digest: str, description: Mapping[str, Any]) -> int:
    """Return the key of a context, added if it is new."""
    connection.execute(
        insert_or_ignore(connection, ContextRow).values(
            digest=storable(digest, "the digest of a context"),
            description=dict(description),
            created=datetime.now(UTC),
        )
    )
    return connection.execute(select(ContextRow.id).where(ContextRow.digest == digest)).scalar_one()


def contexts(connection: Connection, study_id: int) -> list[Mapping[str, Any]]:
    """Return what a study's evaluations depend on, as it was described; the newest last."""
    statement = (
        select(ContextRow.description)
        .join(StudyContextRow, StudyContextRow.context_id == ContextRow.id)
        .where(StudyContextRow.study_id == study_id)
        .order_by(ContextRow.id)
    )
    return list(connection.scalars(statement))


def unused_contexts() -> Select[int]:
    """Return a query for the contexts that belong to no study."""
    used = exists().where(StudyContextRow.context_id == ContextRow.id)
    return select(ContextRow.id).where(~used)


def scores(
    connection: Connection, context: int, keys: Iterable[EvaluationKey]
) -> dict[EvaluationKey, Evaluation]:
    """Return the evaluations that are known, in at most two queries whatever their number."""
    wanted = list(dict.fromkeys(keys))
    kept = {counts: _text(counts) for _, counts in wanted}
    counts_ids = ids(connection, CountsRow.kept, kept.values())
    asked = [
        (sample, counts_ids[kept[counts]], counts)
        for sample, counts in wanted
        if kept[counts] in counts_ids
    ]
    if not asked:
        return {}
    listed = _listed(connection.dialect.name, JSON())
    pair = listed.c.value
    # Outer joins, so that SQLite's planner cannot begin with the evaluations: without statistics it
    # believes a context to hold ten, and would compare all of them with all that is asked.
    statement = (
        select(
            pair[0].as_string(),
            pair[1].as_integer(),
            type_coerce(EvaluationRow.score, Real(null=True)),  # empty where there is no row
            EvaluationRow.prediction,
        )
        .select_from(listed)
        .outerjoin(SampleRow, SampleRow.key == pair[0].as_string())
        .outerjoin(
            EvaluationRow,
            and_(
                EvaluationRow.context_id == context,
                EvaluationRow.counts_id == pair[1].as_integer(),
                EvaluationRow.sample_id == SampleRow.id,
            ),
        )
    )
    of_id = {counts_id: counts for _, counts_id, counts in asked}
    rows = connection.execute(statement, {"values": [item[:2] for item in asked]})
    return {
        (sample, of_id[counts]): Evaluation(score, prediction)
        for sample, counts, score, prediction in rows
        if score is not None
    }


def add_scores(
    connection: Connection, context: int, evaluations: Mapping[EvaluationKey, Evaluation]
) -> int:
    """Add the evaluations that are not known yet and return how many those were.

    Raises:
        RunError: A score is not finite.
        LeaseLostError: The context has been removed, with all studies that had it.
    """
    for (sample, _), (score, _) in evaluations.items():
        if not math.isfinite(score):
            raise RunError(
                f"the metric must be finite, but got {score} on sample {sample}; correct the "
                f"metric or leave the sample out"
            )
    if not evaluations:
        return 0
    kept = {counts: _text(counts) for _, counts in evaluations}
    samples = {storable(sample, "the key of a sample") for sample, _ in evaluations}
    counts_ids = _added(connection, CountsRow, CountsRow.kept, set(kept.values()))
    sample_ids = _added(connection, SampleRow, SampleRow.key, samples)
    rows = sorted(
        (counts_ids[kept[counts]], sample_ids[sample], score, prediction)
        for (sample, counts), (score, prediction) in evaluations.items()
    )
    values = [
        {
            "context_id": context,
            "counts_id": counts,
            "sample_id": sample,
            "score": score,
            "prediction": None if prediction is None else readable(prediction),
        }
        for counts, sample, score, prediction in rows
    ]
    try:
        return connection.execute(insert_or_ignore(connection, EvaluationRow), values).rowcount
    except IntegrityError as error:  # the context alone can be missing: it is no part of this
        raise LeaseLostError(
            "the study of these evaluations has been deleted while this process worked on it; "
            "start it again if it is still wanted"
        ) from error


def _added(
    connection: Connection,
    table: type[Base],
    name: InstrumentedAttribute[str],
    names: set[str],
) -> dict[str, int]:
    """Return the id of each name, added if it is new."""
    known = ids(connection, name, names)
    # Sorted, so that two processes that add the same names cannot wait for each other in a circle.
    # Only new ones, because PostgreSQL uses up a number for every row that it then ignores.
    new = sorted(names - set(known))
    if new:
        listed = _listed(connection.dialect.name, Text())
        rows = select(listed.c.value).where(
            listed.c.value.is_not(None)
        )  # a condition, or SQLite takes ON for a join's
        adding = insert_or_ignore(connection, table).from_select([name.key], rows)
        added = connection.execute(adding.returning(name, name.class_.id), {"values": new})
        known |= {item: key for item, key in added}
    by_others = names - set(known)
    if by_others:
        known |= ids(connection, name, by_others)
    return known


def ids(
    connection: Connection, name: InstrumentedAttribute[str], names: Iterable[str]
) -> dict[str, int]:
    """Return the id of each name that is there, in one query."""
    statement = _ids(name, connection.dialect.name)
    rows = connection.execute(statement, {"values": list(names)})
    return {item: key for item, key in rows}


@cache  # made anew for each task, it would take longer than its execution
def _ids(name: InstrumentedAttribute[str], dialect: str) -> Select[str, int]:
    listed = select(_listed(dialect, Text()).c.value)
    among: ColumnElement[bool] = name.in_(listed)
    if dialect == "postgresql":
        # Its planner believes that a list has a hundred rows, and reads the whole table for them.
        among = name == any_(func.array(listed.scalar_subquery()))
    return select(name, name.class_.id).where(among)


def _listed(dialect: str, kind: TypeEngine[Any]) -> FromClause:
    """Return a JSON list as rows with the column `value`: one parameter, whatever its length."""
    values = bindparam("values", type_=JSON())
    if dialect == "sqlite":
        function = func.json_each(values)
    elif isinstance(kind, JSON):
        function = func.json_array_elements(values)
    else:
        function = func.json_array_elements_text(values)
    return function.table_valued(column("value", kind))


@lru_cache(4096)  # most samples of a task have the same counts
def _text(counts: tuple[int, ...]) -> str:
    return ",".join(str(int(count)) for count in counts)
