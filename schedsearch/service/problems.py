"""Errors as problem documents (RFC 9457)."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from schedsearch.app.unpacking import TooLargeError
from schedsearch.errors import InputError, SchedsearchError
from schedsearch.store.failures import DamagedError
from schedsearch.store.idempotency import KeyInUseError
from schedsearch.store.launches import ChangedError, StateError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_KEY = re.compile(r"`([^`]+)`")


class Problem(BaseModel):
    """What went wrong.

    Attributes:
        type: Of the problem; nothing more is known than the status says.
        title: The status in words.
        status: HTTP status.
        detail: What must hold, what was found, and the remedy.
        key: Path of the key in what was sent, where there is one.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    key: str | None = None


class ProblemError(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, key: str = ""
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.key = status, detail, headers, key


def not_found(what: str) -> ProblemError:
    """Something that is not there."""
    return ProblemError(404, f"there is no {what}")


def key_of(detail: str) -> str:
    """Path of the key that a message speaks of; empty where there is none."""
    found = _KEY.search(detail)
    return found.group(1) if found else ""


def reply(
    status: int, detail: str, headers: Mapping[str, str] | None = None, key: str = ""
) -> JSONResponse:
    """A problem as a response."""
    key = key or (key_of(detail) if status in (400, 422) else "")
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, key=key or None
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


_STATUS: Mapping[type[SchedsearchError], int] = {
    DamagedError: 503,
    ChangedError: 412,
    StateError: 409,
    KeyInUseError: 409,
    TooLargeError: 413,
    InputError: 422,
}


def status_of(error: SchedsearchError) -> int:
    """HTTP status that says what kind of error it is."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)


def _methods(request: Request) -> list[str]:
    """What the path of a request can be asked."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def add_handlers(app: FastAPI) -> None:
    """Answer every error with a problem."""

    @app.exception_handler(ProblemError)
    async def _problem(_request: Request, error: ProblemError) -> JSONResponse:
        return reply(error.status, error.detail, error.headers, error.key)

    @app.exception_handler(SchedsearchError)
    async def _ours(_request: Request, error: SchedsearchError) -> JSONResponse:
        if not isinstance(error, tuple(_STATUS)):
            log.error("%s", error)
            return reply(503, str(error), {"Retry-After": "5"})
        return reply(status_of(error), str(error))

    @app.exception_handler(ClientDisconnect)
    async def _gone(_request: Request, _error: ClientDisconnect) -> JSONResponse:
        return reply(400, "the request ended before its end; send it again")  # nobody reads it

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first: Mapping[str, Any] = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][1:])
        where = first["loc"][0] if first["loc"] else "request"
        return reply(422, f"`{key}` in the {where}: {first['msg']}", key=key)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:  # of several routes of this path the framework names one
            methods = ", ".join(_methods(request))
            return reply(405, f"only {methods} can be asked of this", {"Allow": methods})
        return reply(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def _defect(_request: Request, error: Exception) -> JSONResponse:
        log.exception("a defect", exc_info=error)
        return reply(500, "a defect of schedsearch; the log of the server says more")
