"""Tokens and audits, for admins."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from schedsearch.core.complaints import complaint
from schedsearch.errors import SchedsearchError
from schedsearch.service.api.access import list_audits, make_token, revoke_token
from schedsearch.service.api.common import Cursor, InOffice, Office
from schedsearch.service.auth import Principal
from schedsearch.service.pages.page import AdminSubmits, AdminVisitor, PageRoute, path, render
from schedsearch.service.schemas import NewTokenOut, TokenIn
from schedsearch.store.access import SCOPES

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 50
_Short = Annotated[str, Form(max_length=500)]
_Id = Annotated[int, InPath(ge=0, le=10**9)]


@router.get("/tokens")
def tokens_page(
    request: Request, office: InOffice, who: AdminVisitor, cursor: Cursor = None
) -> HTMLResponse:
    """Show tokens, and who had what written."""
    return _page(request, office, who, cursor)


@router.post("/tokens")
def create_token_by_form(
    request: Request,
    office: InOffice,
    who: AdminSubmits,
    name: _Short = "",
    scope: _Short = "read",
    days: _Short = "",
) -> Response:
    """Make a token; its secret is on this page and nowhere else."""
    given = {"name": name.strip(), "scope": scope, "days": days.strip() or None}
    try:
        made = make_token(request, office, who, TokenIn.model_validate(given))
    except ValidationError as error:
        return _page(request, office, who, None, given=given, fault=complaint(error, "", {}))
    except SchedsearchError as error:
        return _page(request, office, who, None, given=given, fault=str(error))
    return _page(request, office, who, None, made=made)


@router.post("/tokens/{number}/revoke")
def revoke_token_by_form(
    request: Request, office: InOffice, who: AdminSubmits, number: _Id
) -> Response:
    """Make a token good for nothing."""
    revoke_token(request, office, who, number)
    return RedirectResponse(path(request, "tokens_page"), 303)


def _page(
    request: Request,
    office: Office,
    who: Principal,
    cursor: str | None,
    *,
    given: dict[str, str | None] | None = None,
    fault: str = "",
    made: NewTokenOut | None = None,
) -> HTMLResponse:
    now = datetime.now(UTC)
    tokens = office.store.service.tokens()
    return render(
        request,
        "tokens.html",
        who,
        422 if fault else 201 if made else 200,
        tokens=sorted(tokens, key=lambda one: (not one.valid(now), -one.id)),
        now=now,
        scopes=SCOPES,
        page=list_audits(office, who, _ROWS, cursor),
        paged=cursor is not None,
        given=given or {"name": "", "scope": "read", "days": "90"},
        fault=fault,
        made=made,
    )
