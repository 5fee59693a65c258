"""What routes have in common: studies, paging, errors that they document, idempotency, audits."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel

from schedsearch.app.launching import Caretaker, Launching
from schedsearch.app.sample_pictures import SamplePictures
from schedsearch.app.uploads import Uploads
from schedsearch.errors import InputError
from schedsearch.service.auth import Principal, origin_of
from schedsearch.service.problems import MEDIA_TYPE, ProblemError, not_found
from schedsearch.service.schemas import StudyOut
from schedsearch.service.settings import ServiceSettings
from schedsearch.service.views import Views
from schedsearch.store.failures import DamagedError
from schedsearch.store.idempotency import Reply
from schedsearch.store.launches import Launch
from schedsearch.store.store import Store
from schedsearch.store.studies import StudySummary

_TOLD: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "No token, or one that is good for nothing.",
    403: "The token is not good for this.",
    404: "There is no such thing.",
    409: "It is in no state for this, or the key was used for another request.",
    412: "Somebody has changed it meanwhile.",
    413: "The body is too large.",
    415: "What is sent is of another kind than can be read.",
    421: "The service is not called so.",
    422: "Something that was sent cannot be used.",
    429: "Too many failures from this address.",
    503: "The store cannot be reached now.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses that a route may give besides its own."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _TOLD[status], "content": content}
        for status in sorted({401, 403, 421, 422, 429, 503, *statuses})
    }


@dataclass(frozen=True)
class Office:
    """What routes work with.

    Attributes:
        store: Has everything.
        views: Of its studies.
        launching: What is done for studies.
        caretaker: Does it.
        uploads: Sets that were sent.
        pictures: Of samples that searches have seen.
        settings: Of the service.
    """

    store: Store
    views: Views
    launching: Launching
    caretaker: Caretaker
    uploads: Uploads
    pictures: SamplePictures
    settings: ServiceSettings


async def _office(request: Request) -> Office:  # what is not async waits for its turn
    office: Office = request.app.state.office
    return office


InOffice = Annotated[Office, Depends(_office)]
Limit = Annotated[int, Query(ge=1, le=500, description="Most on a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="As the page before gave it.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text; the same request with the same key is done once.",
    ),
]
IfMatch = Annotated[str | None, Header(max_length=200, description="ETag of what is changed.")]


def audit(
    office: Office, request: Request, who: Principal, action: str, what: str, **detail: Any
) -> None:
    """Note what somebody had written."""
    office.store.service.add_audit(who.name, action, what, origin_of(request), detail)


def once(
    office: Office,
    who: Principal,
    key: str | None,
    request: Request,
    body: str,
    work: Callable[[], tuple[BaseModel, int, Mapping[str, str]]],
) -> Response:
    """Do what a request asks, and for the same idempotency key only once.

    Args:
        office: What routes work with.
        who: Whoever asks.
        key: Of the request; None: it is done each time.
        request: The request.
        body: What was sent.
        work: Does it; returns what is answered: body, status and headers.
    """
    if key is None:
        return _response(_reply(*work()))
    asked = f"{request.method} {request.url.path}\n{body}".encode(errors="surrogatepass")
    digest, service = hashlib.sha256(asked).hexdigest(), office.store.service
    known = service.begin_reply(who.name, key, digest)
    if known is not None:
        return _response(known)
    try:
        made = _reply(*work())
    except BaseException:
        service.end_reply(who.name, key, None)
        raise
    service.end_reply(who.name, key, made)
    return _response(made)


def _reply(body: BaseModel, status: int, headers: Mapping[str, str]) -> Reply:
    return Reply(status, headers, body.model_dump_json())


def _response(reply: Reply) -> Response:
    return Response(
        reply.body, reply.status, headers=dict(reply.headers), media_type="application/json"
    )


def shown(office: Office, name: str) -> StudyOut:
    """A study.

    Raises:
        ProblemError: There is none.
    """
    launch, found = office.store.service.launch(name), summary(office, name)
    if launch is None and found is None:
        raise not_found(f"study `{name}`")
    return StudyOut.of(name, launch, found)


def summary(office: Office, name: str) -> StudySummary | None:
    """What the store has of a study; None before its search has begun."""
    try:
        return office.store.study(name)
    except DamagedError:
        raise
    except InputError:
        return None


def check_begun(office: Office, name: str) -> None:
    """Refuse a study that has no trials.

    Raises:
        ProblemError: There is none of this name, or its search has not begun.
    """
    try:
        office.store.spec(name)  # not all of `summary`, which counts trials
    except DamagedError:
        raise
    except InputError:
        if office.store.service.launch(name) is not None:
            detail = f"the search of `{name}` has not begun; there are no trials"
            raise ProblemError(409, detail) from None
        raise not_found(f"study `{name}`") from None


def launched(office: Office, name: str) -> Launch:
    """The launch of a study.

    Raises:
        ProblemError: There is no such study, or it was made without the service.
    """
    launch = office.store.service.launch(name)
    if launch is None:
        if summary(office, name) is None:
            raise not_found(f"study `{name}`")
        raise ProblemError(
            409, f"study `{name}` was made without this service, which does not know its file"
        )
    return launch


def etag(version: int) -> str:
    """ETag of a version."""
    return f'"{version}"'


def version_of(if_match: str | None) -> int | None:
    """The version that `If-Match` names; None where any is meant.

    Raises:
        ProblemError: It names none.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ProblemError(412, "`If-Match` must be an ETag of this study; look at it again")
    return int(text)


def to_cursor(place: list[Any]) -> str:
    """A place as text that nobody needs to understand."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def from_cursor(text: str, kinds: tuple[Any, ...]) -> list[Any]:
    """The place that `to_cursor` made a text of.

    Args:
        text: The cursor.
        kinds: Of what the place has.

    Raises:
        ProblemError: It is none.
    """
    try:
        place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        fits = isinstance(place, list) and len(place) == len(kinds)
        if fits and all(map(isinstance, place, kinds)):
            found: list[Any] = place
            return found
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise ProblemError(422, "`cursor` must be one that a page gave; begin without", key="cursor")
