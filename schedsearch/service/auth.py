"""Who asks, and what for: bearer tokens, browsers that are logged in, and failures in a row."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from schedsearch.app.tokens import recognise
from schedsearch.service.problems import ProblemError
from schedsearch.store.access import SCOPES, Scope, Token
from schedsearch.store.service import ServiceStore

COOKIE = "schedsearch_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
SAFE = ("GET", "HEAD", "OPTIONS")
_SESSION = timedelta(hours=12)
_OFFER = timedelta(minutes=10)


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        token: By which it is known.
        session: Secret of the browser's session; empty where there is none.
    """

    token: Token
    session: str = ""

    @property
    def name(self) -> str:
        """What audits call it."""
        return f"{self.token.name} (token {self.token.id})"

    @property
    def csrf(self) -> str:
        """What forms of this session carry."""
        return hmac.new(self.session.encode(), b"csrf", hashlib.sha256).hexdigest()

    def may(self, scope: Scope) -> bool:
        """Say whether the token is good for something."""
        return SCOPES.index(self.token.scope) >= SCOPES.index(scope)


class Gate:
    """Recognises who asks; an address that fails too often is told to wait.

    Args:
        store: Has tokens and sessions.
        failures: The most of one address in a minute.
    """

    def __init__(self, store: ServiceStore, failures: int) -> None:
        self._store = store
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._failures = RateLimitItemPerMinute(failures)
        self._codes: dict[str, tuple[str, datetime]] = {}

    def by_bearer(self, text: str, origin: str) -> Principal:
        """The holder of a token.

        Raises:
            ProblemError: It is good for nothing, or too many were tried.
        """
        token = recognise(self._store, text)
        if token is None:
            raise self._failure(origin, "the token is not known, has expired or was revoked")
        return Principal(token)

    def log_in(self, text: str, origin: str) -> tuple[str, datetime]:
        """Open a session by a token; return its secret, and when it ends.

        Raises:
            ProblemError: As `by_bearer`.
        """
        token = self.by_bearer(text, origin).token
        secret, ends = secrets.token_urlsafe(32), datetime.now(UTC) + _SESSION
        if token.expires is not None:
            ends = min(ends, token.expires)
        self._store.add_session(token.id, _digest(secret), ends)
        return secret, ends

    def by_session(self, secret: str, origin: str) -> Principal:
        """Whoever has logged in.

        Raises:
            ProblemError: The session has ended, or too many were tried.
        """
        found, now = self._store.session(_digest(secret)), datetime.now(UTC)
        if found is None or now >= found.expires or not found.token.valid(now):
            raise self._failure(origin, "the session has ended; log in again")
        return Principal(found.token, secret)

    def offer(self, token: str) -> str:
        """A code that stands for a token, once, for ten minutes: a link with it can be shown."""
        code = secrets.token_urlsafe(32)
        self._codes[_digest(code)] = token, datetime.now(UTC) + _OFFER
        return code

    def spend(self, code: str) -> str | None:
        """The token of a code; None where it has been used, or is none."""
        token, ends = self._codes.pop(_digest(code), ("", datetime.min.replace(tzinfo=UTC)))
        return token if datetime.now(UTC) < ends else None

    def log_out(self, secret: str) -> None:
        """End a session."""
        self._store.end_session(_digest(secret))

    def _failure(self, origin: str, detail: str) -> ProblemError:
        """Unknown; or, of an address that has failed too often, to wait.

        Others behind the same address are let in: a proxy may stand there.
        """
        if self._limiter.hit(self._failures, origin):
            return _unknown(detail)
        wait = "too many failures from this address; wait a minute"
        return ProblemError(429, wait, {"Retry-After": "60"})


def origin_of(request: Request) -> str:
    """The address that asks."""
    return request.client.host if request.client else "unknown"


_bearer = HTTPBearer(auto_error=False, description="A token of `schedsearch token create`.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="Of a browser that logged in.")


def needs(scope: Scope) -> Callable[..., Principal]:
    """A dependency: whoever asks must have this scope."""

    def principal(
        request: Request,
        bearer: Annotated[object, Depends(_bearer)],
        session: Annotated[str | None, Depends(_cookie)],
    ) -> Principal:
        gate: Gate = request.app.state.gate
        found = _asking(gate, request, bearer, session)
        if not found.may(scope):
            raise ProblemError(
                403, f"this needs a token of scope {scope}, but got one of {found.token.scope}"
            )
        request.state.principal = found
        return found

    return principal


def _asking(gate: Gate, request: Request, bearer: object, session: str | None) -> Principal:
    given = getattr(bearer, "credentials", None)
    if given is not None:
        return gate.by_bearer(given, origin_of(request))
    if not session:
        raise _unknown("a token is needed; send `Authorization: Bearer TOKEN`")
    found = gate.by_session(session, origin_of(request))
    if request.method not in SAFE and not hmac.compare_digest(
        request.headers.get(CSRF_HEADER, "").encode(), found.csrf.encode()
    ):
        raise ProblemError(403, f"the header {CSRF_HEADER} is missing or of another session")
    return found


def _unknown(detail: str) -> ProblemError:
    return ProblemError(401, detail, {"WWW-Authenticate": "Bearer"})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


Reads = Annotated[Principal, Depends(needs("read"))]
Launches = Annotated[Principal, Depends(needs("launch"))]
Administers = Annotated[Principal, Depends(needs("admin"))]
