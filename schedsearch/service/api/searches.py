"""Searches: started, paused, stopped."""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from schedsearch.errors import SchedsearchError
from schedsearch.service.api.common import (
    IdempotencyKey,
    InOffice,
    Office,
    audit,
    errors,
    launched,
    once,
    shown,
)
from schedsearch.service.auth import Launches, Principal
from schedsearch.service.problems import ProblemError
from schedsearch.service.routes import NamedRoute
from schedsearch.service.schemas import StudyOut

router = APIRouter(prefix="/studies", tags=["studies"], route_class=NamedRoute)


@router.post(
    "/{name}/start",
    status_code=202,
    response_model=StudyOut,
    responses=errors(404, 409),
    summary="Start or resume a search",
)
def start(
    request: Request,
    office: InOffice,
    who: Launches,
    name: str,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have a study searched as soon as there is room."""

    def work() -> tuple[StudyOut, int, Mapping[str, str]]:
        launched(office, name)
        start_search(office, request, who, name)
        return shown(office, name), 202, {}

    return once(office, who, idempotency_key, request, "", work)


@router.post("/{name}/pause", status_code=202, responses=errors(404, 409), summary="Pause a search")
def pause(request: Request, office: InOffice, who: Launches, name: str) -> StudyOut:
    """Have the search begin no other trial, and end; it can be started again."""
    return wish_for(request, office, who, name, "pause")


@router.post("/{name}/stop", status_code=202, responses=errors(404, 409), summary="Stop a search")
def stop(request: Request, office: InOffice, who: Launches, name: str) -> StudyOut:
    """Have the search end at once, or wait no longer; it can be started again."""
    return wish_for(request, office, who, name, "stop")


def start_search(office: Office, request: Request, who: Principal, name: str) -> None:
    """Have a study searched as soon as there is room."""
    office.store.service.queue(name)
    audit(office, request, who, "start", name)
    office.caretaker.wake()


def wish_for(request: Request, office: Office, who: Principal, name: str, wish: str) -> StudyOut:
    """Have whoever searches a study pause or stop.

    Raises:
        ProblemError: Nobody does.
    """
    found = shown(office, name)
    waits = found.state in ("queued", "starting")
    if waits:
        office.store.service.withdraw(name)
        found = shown(office, name)
    if found.state in ("starting", "running"):
        try:
            holder = office.store.wish(name, "pause" if wish == "pause" else "stop")
        except SchedsearchError:
            holder = None
        if holder is None:
            raise ProblemError(409, f"the search of `{name}` is only beginning; ask again shortly")
    elif not waits:
        raise ProblemError(409, f"nobody searches `{name}`; there is nothing to {wish}")
    audit(office, request, who, wish, name)
    return shown(office, name)
