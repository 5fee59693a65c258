"""Certifications in SQL: which samples a study has looked at to prove what, and what came of it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from schedsearch.core.certificate import Certificate, Certification, Link, Request
from schedsearch.core.intervals import Interval
from schedsearch.errors import InputError
from schedsearch.store.codec import (
    decoding,
    plug_in_to_json,
    schedule_from_json,
    target_to_json,
)
from schedsearch.store.tables import CertificationRow, StudyRow

_WORDS = {
    "data_digest": "the samples have changed",
    "tolerance": "another tolerance",
    "tasks": "other tasks",
    "alpha": "another alpha",
    "per_image": "another number of samples per image",
    "chain": "another chain of schedules, since the search has gone on",
    "metric": "another metric",
    "weights": "other weights",
}
"""What differs between two requests for the same samples."""


def begin(
    connection: Connection, study_id: int, study: str, request: Request, images: Collection[str]
) -> tuple[int, Certification | None]:
    """Note that a study looks at samples, as the attempt of the number that is returned.

    The same request again has its former number, and what came of it where that is known.

    Raises:
        InputError: It has looked at some of them for another request; nothing is noted then.
    """
    # Else two might both see that nobody has looked; SQLite's writers exclude each other anyway.
    connection.execute(select(StudyRow.id).where(StudyRow.id == study_id).with_for_update()).all()
    plain = request.plain()
    columns = (CertificationRow.request, CertificationRow.images, CertificationRow.result)
    own = select(*columns).where(CertificationRow.study_id == study_id)
    former = connection.execute(own.order_by(CertificationRow.id)).fetchall()
    for attempt, (asked, seen, result) in enumerate(former, 1):
        if asked == plain:
            return attempt, result and certification_from_json(result)
        looked_at = len({*seen.split()} & {*images})
        if looked_at:
            differs = [word for name, word in _WORDS.items() if asked[name] != plain[name]]
            raise InputError(
                f"study `{study}` has looked at {looked_at} of the {len(images)} images of "
                f"{request.data} for another certificate ({'; '.join(differs)}), and samples that "
                "have been looked at prove nothing more; give fresh ones as `data.certify`"
            )
    connection.execute(
        insert(CertificationRow).values(
            study_id=study_id,
            request=plain,
            images=" ".join(images),
            result=None,
            created=datetime.now(UTC),
        )
    )
    return len(former) + 1, None


def end(connection: Connection, study_id: int, result: Certification) -> Certification:
    """Store what came of a request, and return it; of two results the first stays."""
    columns = (CertificationRow.id, CertificationRow.request, CertificationRow.result)
    former = select(*columns).where(CertificationRow.study_id == study_id)
    plain = result.request.plain()
    for key, asked, known in connection.execute(former).fetchall():
        if asked == plain and known is not None:
            return certification_from_json(known)
        if asked == plain:
            changed = update(CertificationRow).where(CertificationRow.id == key)
            connection.execute(changed.values(result=certification_to_json(result)))
    return result


def ended(connection: Connection, study_id: int) -> list[Certification]:
    """Return all that came of a study's requests, oldest first."""
    statement = (
        select(CertificationRow.result)
        .where(CertificationRow.study_id == study_id, CertificationRow.result.is_not(None))
        .order_by(CertificationRow.id)
    )
    return [certification_from_json(body) for body in connection.scalars(statement) if body]


def times(connection: Connection, study_id: int) -> list[datetime]:
    """Return when the samples of what `ended` returns were first looked at, in the same order."""
    statement = (
        select(CertificationRow.created)
        .where(CertificationRow.study_id == study_id, CertificationRow.result.is_not(None))
        .order_by(CertificationRow.id)
    )
    return list(connection.scalars(statement))


def request_from_json(body: Mapping[str, Any]) -> Request:
    """Return what was to be proven."""
    with decoding("the request of a certificate"):
        return Request(**body)


def certification_to_json(found: Certification) -> dict[str, Any]:
    """Return all fields."""
    proof = found.certificate
    return {
        **vars(found),
        "request": found.request.plain(),
        "links": [_link_to_json(link) for link in found.links],
        "found": _link_to_json(found.found),
        "certificate": None if proof is None else proof.plain(),
    }


def certification_from_json(body: Mapping[str, Any]) -> Certification:
    """Return what came of a request."""
    with decoding("a certificate"):
        proof = body["certificate"]
        parts: dict[str, Any] = {
            "request": Request(**body["request"]),
            "links": tuple(_link_from_json(link) for link in body["links"]),
            "found": _link_from_json(body["found"]),
            "certificate": None if proof is None else Certificate.from_plain(proof),
        }
        return Certification(**{**body, **parts})


def _link_to_json(link: Link) -> dict[str, Any]:
    schedule = link.schedule
    return {
        **vars(link),
        "schedule": {
            "keep": list(schedule.keep),
            "ranker": plug_in_to_json(schedule.ranker),
            "target": target_to_json(schedule.target),
        },
        **{name: one and asdict(one) for name, one in (("score", link.score), ("drop", link.drop))},
    }


def _link_from_json(body: Mapping[str, Any]) -> Link:
    parts: dict[str, Any] = {"schedule": schedule_from_json(**body["schedule"])}
    for name in ("score", "drop"):
        parts[name] = body[name] and Interval(**body[name])
    return Link(**{**body, **parts})
