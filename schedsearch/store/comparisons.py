"""Comparisons in SQL: what held-out samples last said of a study's result and of baselines."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from schedsearch.core.comparison import Certified, Comparison, Row
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import Schedule
from schedsearch.store.codec import (
    decoding,
    of_types,
    plug_in_to_json,
    readable,
    schedule_from_json,
    target_to_json,
)
from schedsearch.store.database import insert_or_ignore
from schedsearch.store.tables import ComparisonRow


def put(connection: Connection, study_id: int, found: Comparison) -> None:
    """Store a comparison in place of the study's former one."""
    connection.execute(delete(ComparisonRow).where(ComparisonRow.study_id == study_id))
    put_row(connection, study_id, comparison_to_json(found), datetime.now(UTC))


def put_row(
    connection: Connection, study_id: int, content: Mapping[str, Any], created: datetime
) -> None:
    """Store a comparison, unless the study has one that is as new."""
    row = {"study_id": study_id, "content": content, "created": created}
    added = connection.execute(insert_or_ignore(connection, ComparisonRow).values(row))
    if not added.rowcount:
        older = ComparisonRow.study_id == study_id, ComparisonRow.created < created
        connection.execute(update(ComparisonRow).where(*older).values(row))


def of_study(connection: Connection, study_id: int) -> Comparison | None:
    """Return the comparison of a study; None where there is none."""
    statement = select(ComparisonRow.content).where(ComparisonRow.study_id == study_id)
    content = connection.scalar(statement)
    return None if content is None else comparison_from_json(content)


def comparison_to_json(found: Comparison) -> dict[str, Any]:
    """Return all fields; texts as far as databases take them."""
    certified = found.certified
    return {
        **_plain(found),
        "schedule": _schedule_to_json(found.schedule),
        "data": readable(found.data),
        "rows": [_row_to_json(row) for row in found.rows],
        "score": vars(found.score),
        "drop": vars(found.drop),
        "prefill_seconds": list(found.prefill_seconds),
        "certified": certified
        and {
            "schedule": _schedule_to_json(certified.schedule),
            "score": vars(certified.score),
            "drop": vars(certified.drop),
        },
    }


def comparison_from_json(body: Mapping[str, Any]) -> Comparison:
    """Return what `comparison_to_json` wrote."""
    with decoding("a comparison"):
        certified = body["certified"]
        full, reduced = map(float, body["prefill_seconds"])
        parts: dict[str, Any] = {
            "schedule": schedule_from_json(**body["schedule"]),
            "rows": tuple(map(_row, body["rows"])),
            "score": _interval(body["score"]),
            "drop": _interval(body["drop"]),
            "prefill_seconds": (full, reduced),
            "certified": certified
            and Certified(
                schedule_from_json(**certified["schedule"]),
                _interval(certified["score"]),
                _interval(certified["drop"]),
            ),
        }
        return of_types(Comparison(**{**body, **parts}))


def _plain(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _schedule_to_json(schedule: Schedule) -> dict[str, Any]:
    return {
        "keep": list(schedule.keep),
        "ranker": plug_in_to_json(schedule.ranker),
        "target": target_to_json(schedule.target),
    }


def _row_to_json(row: Row) -> dict[str, Any]:
    return {
        **_plain(row),
        **{name: readable(getattr(row, name)) for name in ("name", "what", "reason")},
        "score": row.score and vars(row.score),
        "difference": row.difference and vars(row.difference),
    }


def _row(body: Mapping[str, Any]) -> Row:
    parts = {name: body[name] and _interval(body[name]) for name in ("score", "difference")}
    return of_types(Row(**{**body, **parts}))


def _interval(body: Mapping[str, Any]) -> Interval:
    return of_types(Interval(**body))
