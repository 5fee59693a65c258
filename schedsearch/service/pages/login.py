"""Logging in and out, by a form or by the link that `schedsearch serve` prints."""

import hmac
import secrets
from typing import Annotated

from fastapi import APIRouter, Cookie, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from schedsearch.service.api.common import InOffice, Office
from schedsearch.service.auth import COOKIE, origin_of
from schedsearch.service.pages.page import PageRoute, gate_of, local, path, render, visitor_of
from schedsearch.service.problems import ProblemError

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_FORM = "schedsearch_login"
"""Cookie that shows that a login form came from here."""

_Text = Annotated[str, Form(max_length=500)]
_MOST = 2000
_Next = Annotated[str, Query(alias="next", max_length=_MOST)]
_NextField = Annotated[str, Form(alias="next", max_length=_MOST)]


@router.get("/")
def home(request: Request) -> Response:
    """To the studies, or to the form."""
    name = "studies_page" if visitor_of(request) else "login_form"
    return RedirectResponse(path(request, name), 303)


@router.get("/login")
def login_form(
    request: Request, office: InOffice, code: str | None = None, following: _Next = ""
) -> Response:
    """Ask for a token; a code that was printed at the start stands for one, once."""
    if code is not None and (token := gate_of(request).spend(code)) is not None:
        return _logged_in(request, office, token, following)
    note = "" if code is None else "The link has been used; log in here."
    return _form(request, office, note, following)


@router.post("/login")
def login(
    request: Request,
    office: InOffice,
    token: _Text,
    csrf: _Text,
    following: _NextField = "",
    form: Annotated[str | None, Cookie(alias=_FORM)] = None,
) -> Response:
    """Log in by a token."""
    if not hmac.compare_digest((form or "").encode(), csrf.encode()) or not csrf:
        return _form(request, office, "The form was too old; please try again.", following, 403)
    try:
        return _logged_in(request, office, token.strip(), following)
    except ProblemError as error:
        note = f"{error.detail[:1].upper()}{error.detail[1:]}."
        return _form(request, office, note, following, error.status)


@router.post("/logout")
def logout(request: Request, csrf: _Text) -> Response:
    """End the session."""
    who = visitor_of(request)
    if who is not None:
        if not hmac.compare_digest(who.csrf.encode(), csrf.encode()):
            raise ProblemError(403, "the form is of another session; go back and try again")
        gate_of(request).log_out(who.session)
    answer = RedirectResponse(path(request, "login_form"), 303)
    answer.delete_cookie(COOKIE)
    return answer


def _logged_in(request: Request, office: Office, token: str, following: str) -> Response:
    secret, ends = gate_of(request).log_in(token, origin_of(request))
    answer = RedirectResponse(local(request, following), 303)
    answer.set_cookie(
        COOKIE,
        secret,
        expires=ends,
        path=request.scope.get("root_path", "") or "/",
        secure=_secure(request, office),
        httponly=True,
        samesite="strict",
    )
    return answer


def _form(
    request: Request, office: Office, note: str, following: str, status: int = 200
) -> HTMLResponse:
    secret = secrets.token_urlsafe(16)
    answer = render(
        request, "login.html", None, status, secret=secret, note=note, following=following
    )
    answer.set_cookie(
        _FORM, secret, secure=_secure(request, office), httponly=True, samesite="strict"
    )
    return answer


def _secure(request: Request, office: Office) -> bool:
    return office.settings.secure or request.url.scheme == "https"
