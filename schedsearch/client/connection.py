"""The wire to a service: requests with a token, tried again where nothing can be done twice."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from schedsearch.client.problems import (
    UnreachableError,
    no_service,
    refusal,
    unreachable,
)
from schedsearch.errors import InputError
from schedsearch.version import VERSION

SERVER = "SCHEDSEARCH_SERVER"
TOKEN = "SCHEDSEARCH_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT = 30.0

_PAUSES = (0.2, 0.5, 1.0)
"""Seconds before a request is tried again."""

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_PAGE = 500

Params = Mapping[str, Any]


class Connection:
    """Requests to a service, which alone is sent the token: redirects are not followed.

    Args:
        url: Address of the service; None: that in SCHEDSEARCH_SERVER.
        token: Who asks; None: that in SCHEDSEARCH_TOKEN.
        timeout: Seconds for which the service may be silent.

    Raises:
        InputError: There is no address, or it is none of a service.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        self.url = _checked(url if url is not None else os.environ.get(SERVER, ""))
        found = token if token is not None else os.environ.get(TOKEN, "")
        headers = {"User-Agent": f"schedsearch/{VERSION}"}
        if found:
            headers["Authorization"] = f"Bearer {_sendable(found)}"
        self._has_token = bool(found)
        self._timeout = timeout
        self._http = httpx2.Client(headers=headers, timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def ask(self, method: str, path: str, *, once: bool = False, **sent: Any) -> httpx2.Response:
        """An answer of success.

        Args:
            method: Of HTTP.
            path: After the version of the interface.
            once: Send an idempotency key, by which a lost request can be sent again.
            sent: As `httpx2.Client.request` takes it.

        Raises:
            RefusedError: The service refuses.
            RunError: It fails, or cannot be reached.
        """
        headers = dict(sent.pop("headers", {}))
        if once:
            headers["Idempotency-Key"] = uuid.uuid4().hex
        again = once or method == "GET"
        for pause in (*_PAUSES, None):
            try:
                response = self._http.request(method, self._place(path), headers=headers, **sent)
            except httpx2.TransportError as error:
                if pause is None or not (again or isinstance(error, _NEVER_SENT)):
                    raise unreachable(self.url, error) from None
                time.sleep(pause)
                continue
            if response.is_success:
                return response
            found = refusal(response, self.url, self._has_token)
            # The same request may be at work, though nobody waits for its answer any more.
            at_work = once and pause != _PAUSES[0] and response.status_code == 409
            outage = again and isinstance(found, UnreachableError)
            if pause is None or not (at_work or outage):
                raise found
            time.sleep(pause)
        raise AssertionError

    def json(self, method: str, path: str, **sent: Any) -> Any:
        """The body of an answer of success; see `ask`.

        Raises:
            InputError: It is none of a service of schedsearch.
        """
        return self.parsed(self.ask(method, path, **sent))

    def parsed(self, response: httpx2.Response) -> Any:
        """The body of an answer.

        Raises:
            InputError: It is none of a service of schedsearch.
        """
        try:
            return response.json()
        except ValueError:
            raise no_service(self.url) from None

    def pages(
        self, path: str, field: str, params: Params, limit: int = _PAGE
    ) -> Iterator[Mapping[str, Any]]:
        """Everything in a list, of which pages are asked for as they are needed.

        Args:
            path: Of the list.
            field: Of a page that has its part of the list.
            params: Filters; those that are None are left out.
            limit: Most on a page.
        """
        given = {key: value for key, value in params.items() if value is not None}
        cursor: str | None = None
        while True:
            asked = given | {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
            page = self.json("GET", path, params=asked)
            try:
                yield from page[field]
                cursor = page["cursor"]
            except (KeyError, TypeError):
                raise no_service(self.url) from None
            if cursor is None:
                return

    @contextmanager
    def events(self, path: str, last: str, silence: float) -> Iterator[httpx2.EventSource]:
        """A stream of server-sent events.

        Args:
            path: Of the stream.
            last: Id of the last event that came; empty for none.
            silence: Seconds after which a stream without a sign is lost.

        Raises:
            RefusedError: The service refuses.
            UnreachableError: It cannot be reached, or the connection is lost.
        """
        headers = {"Last-Event-ID": last} if last else {}
        timeout = httpx2.Timeout(self._timeout, read=silence)
        try:
            with self._http.sse(self._place(path), headers=headers, timeout=timeout) as source:
                response = source.response
                if not response.is_success:
                    response.read()
                    raise refusal(response, self.url, self._has_token)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise no_service(self.url)
                yield source
        except httpx2.TransportError as error:
            raise unreachable(self.url, error) from error

    def _place(self, path: str) -> str:
        """Whole, as `studies:validate` would otherwise be an address with a scheme of its own."""
        return f"{self.url}/api/v1/{path}"


def _checked(text: str) -> str:
    if not text:
        raise InputError(f"the address of a service is needed; set {SERVER}, or pass `url`")
    try:
        url = httpx2.URL(text)
        url.host.encode("idna")  # or the look-up of the host would fail in words of its own
    except (httpx2.InvalidURL, UnicodeError):
        url = httpx2.URL("")
    plain = not (url.userinfo or "?" in text or "#" in text)
    if url.scheme not in ("http", "https") or not url.host or not plain:
        raise InputError(
            "the address of a service must be like https://HOST/PATH, without user, password or "
            f"query, but got {_shown(url)}; correct it"
        )
    return text.rstrip("/")


def _shown(url: httpx2.URL) -> str:
    """An address that may be shown: without what stands before the host, and after the path."""
    return repr(f"{url.scheme}://{url.host}{url.path}") if url.host else "something else"


def _sendable(token: str) -> str:
    token = token.strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(
            f"{TOKEN} must be a token as `schedsearch token create` prints it, but has other "
            "characters; copy it again"
        )
    return token
