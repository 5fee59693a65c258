"""What holds for every request and answer: by which name, and what browsers may do with it."""

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schedsearch.service.problems import MEDIA_TYPE, reply

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
        "object-src 'none'; img-src 'self' data:"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses foreign hosts, and adds security headers to every answer.

    Args:
        app: Answers the rest.
        hosts: Names by which the service is asked for; `*`: any.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        replaced = False

        async def guarded(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] == 413 and headers.get("content-type") != MEDIA_TYPE:
                    replaced = True  # the framework's refusal, which is a line of text
                    await reply(413, "the body is too large; send less")(scope, receive, guarded)
                    return
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            elif replaced and not message.get("body", b"").startswith(b"{"):
                return
            await send(message)

        host = _host(Headers(scope=scope).get("host", ""))
        if "*" in self._hosts or host in self._hosts:
            await self._app(scope, receive, guarded)
        else:
            detail = "this service is not called so; add the name with --allow-host"
            await reply(421, detail)(scope, receive, guarded)


def _host(header: str) -> str:
    """Name or address in a `Host` header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0][1:].lower()
    return header.partition(":")[0].lower()
