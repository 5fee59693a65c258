"""Studies: created, looked at, changed, cloned, deleted."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from schedsearch.app.config import parse_study
from schedsearch.errors import InputError
from schedsearch.service.api.common import (
    Cursor,
    IdempotencyKey,
    IfMatch,
    InOffice,
    Limit,
    Office,
    audit,
    errors,
    etag,
    from_cursor,
    launched,
    once,
    shown,
    summary,
    to_cursor,
    version_of,
)
from schedsearch.service.api.searches import start_search
from schedsearch.service.auth import Launches, Principal, Reads
from schedsearch.service.problems import ProblemError, not_found
from schedsearch.service.routes import NamedRoute
from schedsearch.service.schemas import State, StudiesOut, StudyOut, ValidOut
from schedsearch.service.views import every_study

router = APIRouter(prefix="/studies", tags=["studies"], route_class=NamedRoute)

_FILE: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A study file, in YAML or JSON.",
        "content": {
            kind: {"schema": {"$ref": "#/components/schemas/StudyConfig"}}
            for kind in ("application/yaml", "application/json")
        },
    }
}


async def _file(request: Request) -> str:
    try:
        return (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the study file is not UTF-8; send it as UTF-8"
        raise ProblemError(400, detail) from None


@router.get("", responses=errors(), summary="List studies")
def list_studies(
    office: InOffice,
    _who: Reads,
    state: Annotated[State | None, Query(description="Those in this state alone.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> StudiesOut:
    """Return studies, the latest first."""
    every = [one for one in every_study(office.store) if state in (None, one.state)]
    every.sort(key=lambda one: (-one.created.timestamp(), one.name))
    page = every
    if cursor is not None:
        since, name = from_cursor(cursor, (float | int, str))
        page = [one for one in every if (-one.created.timestamp(), one.name) > (since, name)]
    following = None
    if len(page) > limit:
        last = page[limit - 1]
        following = to_cursor([-last.created.timestamp(), last.name])
    return StudiesOut(studies=page[:limit], total=len(every), cursor=following)


@router.post(
    "",
    status_code=201,
    response_model=StudyOut,
    responses=errors(400, 409, 413),
    openapi_extra=dict(_FILE),
    summary="Create a study",
)
async def create(
    request: Request,
    office: InOffice,
    who: Launches,
    start: Annotated[bool, Query(description="Have it searched, too.")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Keep a study file, of which the model is loaded when its search begins."""
    text = await _file(request)

    def work() -> tuple[StudyOut, int, Mapping[str, str]]:
        made = created(office, request, who, text, start)
        return made, 201, {"ETag": etag(made.version or 0), "Location": _place(request, made.name)}

    return await run_in_threadpool(once, office, who, idempotency_key, request, text, work)


@router.post(
    ":validate",
    responses=errors(400, 413),
    openapi_extra=dict(_FILE),
    summary="Check a study file",
)
async def validate(request: Request, office: InOffice, _who: Launches) -> ValidOut:
    """Say whether a study could be created; nothing is kept."""
    text = await _file(request)

    def work() -> ValidOut:
        config = parse_study(text, "study")
        return ValidOut(study=config.study, content=office.launching.validated(config))

    return await run_in_threadpool(work)


@router.get("/{name}", responses=errors(404), summary="Show a study")
def show(office: InOffice, _who: Reads, name: str, response: Response) -> StudyOut:
    """Return a study, with the ETag of its content."""
    found = shown(office, name)
    if found.version is not None:
        response.headers["ETag"] = etag(found.version)
    return found


@router.get("/{name}/content", responses=errors(404, 409), summary="Content of a study's file")
def content(office: InOffice, _who: Reads, name: str, response: Response) -> dict[str, Any]:
    """Return what is searched, as a study file has it."""
    launch = launched(office, name)
    response.headers["ETag"] = etag(launch.version)
    return dict(launch.content)


@router.put(
    "/{name}/content",
    responses=errors(400, 404, 409, 412, 413),
    openapi_extra=dict(_FILE),
    summary="Change a study",
)
async def change(
    request: Request,
    response: Response,
    office: InOffice,
    who: Launches,
    name: str,
    if_match: IfMatch = None,
) -> StudyOut:
    """Replace the content of a study that nobody searches."""
    text = await _file(request)

    def work() -> StudyOut:
        launched(office, name)
        config = parse_study(text, "study")
        if config.study != name:
            raise InputError(f"`study` must stay {name}, but got {config.study}; clone it instead")
        kept = office.launching.validated(config)
        office.store.service.change_launch(name, version_of(if_match), kept)
        audit(office, request, who, "change", name)
        return shown(office, name)

    made = await run_in_threadpool(work)
    response.headers["ETag"] = etag(made.version or 0)
    return made


@router.delete(
    "/{name}", status_code=204, responses=errors(404, 409, 412), summary="Delete a study"
)
def delete(
    request: Request, office: InOffice, who: Launches, name: str, if_match: IfMatch = None
) -> None:
    """Delete a study that nobody searches, with all that was found."""
    launch, found = office.store.service.launch(name), summary(office, name)
    if launch is None and found is None:
        raise not_found(f"study `{name}`")
    if found is not None and found.holder is not None and found.left:
        raise ProblemError(409, f"study `{name}` is being searched; stop it first")
    if launch is not None:
        office.store.service.remove_launch(name, version_of(if_match))
    if found is not None:
        office.store.prune([name])
    audit(office, request, who, "delete", name)


@router.post(
    "/{name}/clone",
    status_code=201,
    response_model=StudyOut,
    responses=errors(400, 404, 409, 413),
    summary="Clone a study",
)
def clone(
    request: Request,
    office: InOffice,
    who: Launches,
    name: str,
    new_name: Annotated[str, Body(max_length=100, alias="study")],
    changes: Annotated[
        dict[str, Any] | None,
        Body(description="Keys of a study file; null removes a key (RFC 7396)."),
    ] = None,
) -> Response:
    """Keep the content of a study under a new name, with changes."""
    launched(office, name)
    launch = office.launching.clone(name, new_name, changes or {}, who.name)
    audit(office, request, who, "clone", launch.study, of=name)
    made = shown(office, launch.study)
    headers = {"ETag": etag(made.version or 0), "Location": _place(request, made.name)}
    return Response(made.model_dump_json(), 201, headers, media_type="application/json")


def created(office: Office, request: Request, who: Principal, text: str, start: bool) -> StudyOut:
    """Keep a study file, and have it searched where that is asked.

    Raises:
        InputError: It cannot be used, or there is a study of this name.
    """
    config = parse_study(text, "study")
    known = config.study in (one.spec.name for one in office.store.studies())
    if known and office.store.service.launch(config.study) is None:
        raise InputError(
            f"there is a study `{config.study}` already, made without this service; choose "
            "another name"
        )
    launch = office.launching.create(config, who.name)
    audit(office, request, who, "create", launch.study)
    if start:
        start_search(office, request, who, launch.study)
    return shown(office, launch.study)


def _place(request: Request, name: str) -> str:
    return str(request.url_for("show", name=name).path)
