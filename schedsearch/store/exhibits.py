"""Exhibits in SQL: samples of a trial that people look at, with their pictures."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select, true

from schedsearch.core.exhibit import Box, Exhibit, TokenView
from schedsearch.errors import InputError
from schedsearch.store.codec import decoding, of_types, readable
from schedsearch.store.database import insert_or_ignore
from schedsearch.store.tables import ExhibitRow, TrialRow

MOST = 256
"""Exhibits of a study; those that were added first make room for more."""


def add(
    connection: Connection,
    study_id: int,
    number: int,
    shots: Sequence[tuple[Exhibit, bytes]],
    again: bool,
) -> None:
    """Add exhibits of a trial with their pictures.

    Args:
        connection: In a transaction.
        study_id: Of the study.
        number: Of the trial.
        shots: What is added.
        again: Whether they replace what there is of the same samples; else that stays.

    Raises:
        InputError: There is no such trial.
    """
    trial = _trial(connection, study_id, number)
    if again:
        samples = [exhibit.sample for exhibit, _ in shots]
        gone = ExhibitRow.trial_id == trial, ExhibitRow.sample.in_(samples)
        connection.execute(delete(ExhibitRow).where(*gone))
    rows = [
        {
            "trial_id": trial,
            "sample": exhibit.sample,
            "content": exhibit_to_json(exhibit),
            "picture": picture,
            "created": datetime.now(UTC),
        }
        for exhibit, picture in shots
    ]
    if rows:
        connection.execute(insert_or_ignore(connection, ExhibitRow), rows)
    keep_latest(connection, study_id)


def keep_latest(connection: Connection, study_id: int) -> None:
    """Remove the exhibits of a study that are too many, beginning with the oldest."""
    trials = select(TrialRow.id).where(TrialRow.study_id == study_id)
    own = ExhibitRow.trial_id.in_(trials)
    ids = connection.scalars(select(ExhibitRow.id).where(own).order_by(ExhibitRow.id.desc())).all()
    if ids[MOST:]:
        connection.execute(delete(ExhibitRow).where(ExhibitRow.id.in_(ids[MOST:])))


def of_trial(connection: Connection, study_id: int, number: int) -> list[Exhibit]:
    """Return the exhibits of a trial: changed answers first, then in the order of their sets.

    Raises:
        InputError: There is no such trial.
    """
    trial = _trial(connection, study_id, number)
    contents = connection.scalars(select(ExhibitRow.content).where(ExhibitRow.trial_id == trial))
    found = map(exhibit_from_json, contents)
    return sorted(found, key=lambda one: (not one.changed, one.split, one.place))


def pictures(
    connection: Connection, study_id: int, number: int, samples: Collection[str] | None
) -> dict[str, bytes]:
    """Return the pictures of a trial's exhibits by sample; of some samples, or of all.

    Raises:
        InputError: There is no such trial.
    """
    trial = _trial(connection, study_id, number)
    wanted = true() if samples is None else ExhibitRow.sample.in_(samples)
    rows = connection.execute(
        select(ExhibitRow.sample, ExhibitRow.picture).where(ExhibitRow.trial_id == trial, wanted)
    )
    return {sample: picture for sample, picture in rows}


def _trial(connection: Connection, study_id: int, number: int) -> int:
    found = connection.scalar(
        select(TrialRow.id).where(TrialRow.study_id == study_id, TrialRow.number == number)
    )
    if found is None:
        raise InputError(f"the study has no trial {number}; `schedsearch show` lists them")
    return found


def exhibit_to_json(exhibit: Exhibit) -> dict[str, Any]:
    """Return all fields; kept tokens in base64, layer by layer."""
    body = {field.name: getattr(exhibit, field.name) for field in fields(exhibit)}
    texts = ("name", "question", "answer", "full_answer")
    return {
        **body,
        **{name: readable(body[name]) for name in texts},
        "references": list(map(readable, exhibit.references)),
        "views": [
            {"rows": view.rows, "columns": view.columns, "box": view.box and list(view.box)}
            for view in exhibit.views
        ],
        "kept": [base64.b64encode(one).decode() for one in exhibit.kept],
    }


def exhibit_from_json(body: Mapping[str, Any]) -> Exhibit:
    """Return what `exhibit_to_json` wrote."""
    with decoding("an exhibit"):
        parts = {
            "references": tuple(map(_text, body["references"])),
            "views": tuple(map(_view, body["views"])),
            "kept": tuple(base64.b64decode(one, validate=True) for one in body["kept"]),
        }
        return of_types(Exhibit(**{**body, **parts}))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text must not be {value!r}")
    return value


def _view(body: Mapping[str, Any]) -> TokenView:
    box = body["box"]
    return of_types(TokenView(body["rows"], body["columns"], box and _box(*map(float, box))))


def _box(left: float, top: float, width: float, height: float) -> Box:
    if not (0 <= left <= left + width <= 1.001 and 0 <= top <= top + height <= 1.001):
        raise ValueError("a box must be within its picture")
    return Box(left, top, width, height)
