"""What pages share: who may see them, how they are rendered, how they fail.

To add one: a module with `router = APIRouter(include_in_schema=False, route_class=PageRoute)` and
a line in app.py. Its route takes `who: Visitor` (or `LaunchVisitor`, `AdminVisitor`) and returns
`render(request, "name.html", who, ...)`; what a form sends to takes `who: Submits` (or
`AdminSubmits`) instead, which checks the form's CSRF token. The head of base.html says the rest.
"""

import hmac
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import Depends, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from schedsearch.errors import SchedsearchError
from schedsearch.service.auth import COOKIE, Gate, Principal, origin_of
from schedsearch.service.pages.words import FILTERS
from schedsearch.service.problems import ProblemError, status_of
from schedsearch.service.routes import NamedRoute
from schedsearch.store.access import Scope

templates = Jinja2Templates(Path(__file__).parent / "templates")
templates.env.filters.update(FILTERS)
templates.env.trim_blocks = templates.env.lstrip_blocks = True

_NAVIGATION: tuple[tuple[str, str, Scope], ...] = (
    ("studies_page", "Studies", "read"),
    ("compare_page", "Compare", "read"),
    ("start_page", "Start", "launch"),
    ("cluster_page", "Cluster", "read"),
    ("tokens_page", "Tokens", "admin"),
)
_ADVICE: Mapping[int, str] = {
    403: "Ask whoever runs this service for a token that may do this.",
    404: "It may have been deleted, or the link is mistyped.",
    503: "The page tries again by itself when you reload it.",
}


class LoginNeededError(Exception):
    """Nobody has logged in with this browser, or the session has ended."""


def compile_templates() -> None:
    """Have no visitor wait for it: together they take a tenth of a second, once."""
    for name in templates.env.list_templates():
        templates.env.get_template(name)


def path(request: Request, name: str, /, query: Any = None, **parts: object) -> str:
    """Where a route is, seen from the browser; the parts of its path are quoted here."""
    quoted = {key: quote(str(value), safe="") for key, value in parts.items()}
    found = request.scope.get("root_path", "") + str(request.app.url_path_for(name, **quoted))
    return f"{found}?{urlencode(query, doseq=True)}" if query else found


def static(request: Request, file: str) -> str:
    """Where a file of the folder `static` is."""
    root = request.scope.get("root_path", "")
    return f"{root}/static/{request.app.state.assets.version}/{file}"


def _own_path(request: Request) -> str:
    """Path of this page within the service."""
    own: str = request.scope["path"]
    root: str = request.scope.get("root_path", "")
    return own.removeprefix(root) if own.startswith(f"{root}/") else own


def here(request: Request) -> str:
    """Path and query of this page, seen from the browser."""
    root, sent = (
        request.scope.get("root_path", ""),
        request.scope["raw_path"].decode("ascii", "replace"),
    )
    own = sent if sent.startswith(f"{root}/") else root + sent
    return f"{own}?{request.url.query}" if request.url.query else own


def local(request: Request, text: str) -> str:
    """Where to go after logging in: a page of this service and of no other, else its first."""
    root = request.scope.get("root_path", "")
    first = path(request, "home")
    split = urlsplit(text)
    plain = text.isascii() and text.isprintable() and "\\" not in text
    inside = text.startswith(f"{root}/") and not text.startswith("//")
    return text if plain and inside and not split.scheme and not split.netloc else first


def gate_of(request: Request) -> Gate:
    """Recognises who asks."""
    gate: Gate = request.app.state.gate
    return gate


def visitor_of(request: Request) -> Principal | None:
    """Whoever has logged in with this browser."""
    try:
        return gate_of(request).by_session(request.cookies[COOKIE], origin_of(request))
    except (KeyError, ProblemError):
        return None


def visits(scope: Scope) -> Callable[[Request], Principal]:
    """A dependency: a browser that has logged in by a token of this scope."""

    def principal(request: Request) -> Principal:
        who = visitor_of(request)
        if who is None:
            raise LoginNeededError
        request.state.principal = who
        if not who.may(scope):
            raise ProblemError(
                403, f"this needs a token of scope {scope}, but yours is of scope {who.token.scope}"
            )
        return who

    return principal


def submits(scope: Scope) -> Callable[..., Principal]:
    """A dependency: likewise, and the form comes from one of our pages."""

    def principal(
        who: Annotated[Principal, Depends(visits(scope))],
        csrf: Annotated[str, Form(max_length=500)] = "",
    ) -> Principal:
        if not hmac.compare_digest(who.csrf.encode(), csrf.encode()):
            raise ProblemError(403, "the form is of another session; go back and try again")
        return who

    return principal


Visitor = Annotated[Principal, Depends(visits("read"))]
LaunchVisitor = Annotated[Principal, Depends(visits("launch"))]
AdminVisitor = Annotated[Principal, Depends(visits("admin"))]
Submits = Annotated[Principal, Depends(submits("launch"))]
AdminSubmits = Annotated[Principal, Depends(submits("admin"))]


def render(
    request: Request, template: str, who: Principal | None, status: int = 200, **context: Any
) -> HTMLResponse:
    """A page.

    Args:
        request: That asks for it.
        template: File in `templates`.
        who: Whoever has logged in.
        status: HTTP status.
        context: What the template shows besides.
    """
    shared = {
        "who": who,
        "csrf": who.csrf if who else "",
        "navigation": _navigation(request, who),
        "here": here(request),
        "path": partial(path, request),
        "static": partial(static, request),
    }
    return templates.TemplateResponse(request, template, {**shared, **context}, status)


def _navigation(request: Request, who: Principal | None) -> list[tuple[str, str, bool]]:
    """Path and words of each page that whoever asks may see, and whether it is this one."""
    found, own = [], _own_path(request)
    for name, words, scope in _NAVIGATION:
        if who is not None and who.may(scope):
            part = str(request.app.url_path_for(name))
            found.append((path(request, name), words, own == part or own.startswith(f"{part}/")))
    return found


class PageRoute(NamedRoute):
    """A route whose failures are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler, and what shows its failures."""
        own = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await own(request)
            except LoginNeededError:
                return _to_login(request)
            except ProblemError as error:
                return _failure(request, error.status, error.detail)
            except SchedsearchError as error:
                return _failure(request, status_of(error), str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                key = ".".join(str(part) for part in first["loc"][1:])
                return _failure(request, 422, f"`{key}`: {first['msg']}")

        return handler


def _to_login(request: Request) -> Response:
    """To the form; but a link on another site comes without the cookie, so ask from here first."""
    if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
        return render(request, "again.html", None)
    query = {"next": here(request)} if request.method == "GET" else {}
    return RedirectResponse(path(request, "login_form", query), 303)


def _failure(request: Request, status: int, detail: str) -> Response:
    sentence = f"{detail[:1].upper()}{detail[1:]}."
    return render(
        request,
        "failure.html",
        getattr(request.state, "principal", None),
        status,
        sentence=sentence,
        advice=_ADVICE.get(status, ""),
    )
