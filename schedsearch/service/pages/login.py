"""Logging in and out, by a form or by the link that `schedsearch serve` prints."""

import hmac
import secrets
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Cookie, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from schedsearch.service.api.common import InOffice, Office
from schedsearch.service.auth import COOKIE, Gate, Principal, origin_of
from schedsearch.service.problems import ProblemError

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")

_FORM = "schedsearch_login"
"""Cookie that shows that a login form came from here."""

_Text = Annotated[str, Form(max_length=500)]


def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


def _visitor(request: Request) -> Principal | None:
    """Whoever has logged in with this browser."""
    try:
        return _gate(request).by_session(request.cookies[COOKIE], origin_of(request))
    except (KeyError, ProblemError):
        return None


@router.get("/")
def home(request: Request) -> Response:
    """Say who is logged in, and where the interface is."""
    who = _visitor(request)
    if who is None:
        return RedirectResponse(request.url_for("login_form").path, 303)
    return templates.TemplateResponse(request, "home.html", {"who": who})


@router.get("/login")
def login_form(request: Request, office: InOffice, code: str | None = None) -> Response:
    """Ask for a token; a code that was printed at the start stands for one, once."""
    if code is not None and (token := _gate(request).spend(code)) is not None:
        return _logged_in(request, office, token)
    return _form(request, office, "" if code is None else "The link has been used; log in here.")


@router.post("/login")
def login(
    request: Request,
    office: InOffice,
    token: _Text,
    csrf: _Text,
    form: Annotated[str | None, Cookie(alias=_FORM)] = None,
) -> Response:
    """Log in by a token."""
    if not hmac.compare_digest((form or "").encode(), csrf.encode()) or not csrf:
        return _form(request, office, "The form was too old; please try again.", 403)
    try:
        return _logged_in(request, office, token.strip())
    except ProblemError as error:
        return _form(
            request, office, f"{error.detail[:1].upper()}{error.detail[1:]}.", error.status
        )


@router.post("/logout")
def logout(request: Request, csrf: _Text) -> Response:
    """End the session."""
    who = _visitor(request)
    if who is not None:
        if not hmac.compare_digest(who.csrf.encode(), csrf.encode()):
            raise ProblemError(403, "the form is of another session; go back and try again")
        _gate(request).log_out(who.session)
    answer = RedirectResponse(request.url_for("login_form").path, 303)
    answer.delete_cookie(COOKIE)
    return answer


def _logged_in(request: Request, office: Office, token: str) -> Response:
    secret, ends = _gate(request).log_in(token, origin_of(request))
    answer = RedirectResponse(request.url_for("home").path, 303)
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


def _form(request: Request, office: Office, note: str, status: int = 200) -> HTMLResponse:
    secret = secrets.token_urlsafe(16)
    answer = templates.TemplateResponse(
        request, "login.html", {"csrf": secret, "note": note}, status_code=status
    )
    answer.set_cookie(
        _FORM, secret, secure=_secure(request, office), httponly=True, samesite="strict"
    )
    return answer


def _secure(request: Request, office: Office) -> bool:
    return office.settings.secure or request.url.scheme == "https"
