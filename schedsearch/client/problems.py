"""What a service answers where it does not do what was asked, as errors of schedsearch."""

from collections.abc import Mapping
from typing import Any

import httpx2

from schedsearch.errors import InputError, RunError, SchedsearchError

MEDIA_TYPE = "application/problem+json"
_OUTAGES = (502, 503, 504)
"""Of a proxy before a service that begins, or of a service whose store is away."""


class RefusedError(InputError):
    """The service would not do what was asked.

    Args:
        message: What must hold, what was found, and the remedy.
        status: HTTP status.
        key: Path of the key in what was sent; empty where there is none.
    """

    def __init__(self, message: str, status: int, key: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.key = key


class UnreachableError(RunError):
    """The service cannot be reached, or cannot serve now; it may later."""


def refusal(response: httpx2.Response, url: str, has_token: bool) -> SchedsearchError:
    """The error of an answer that is none of success; its body has been read.

    Args:
        response: The answer.
        url: Address of the service.
        has_token: Whether a token was sent.
    """
    status = response.status_code
    problem = _problem(response)
    if status < 400:
        place = response.headers.get("location", "elsewhere")
        return RefusedError(
            f"{url}: the address must be that of a service itself, but it leads to {place:.200}; "
            "give the address in full",
            status,
        )
    if problem is None:
        detail = f"answers {status} {response.reason_phrase}, and not as schedsearch does"
        remedy = "; check the address, and the path where a proxy has it"
    else:
        detail, remedy = str(problem.get("detail", "")), ""
    if status == 401 and problem is not None:
        remedy = f"; {_correct(has_token)}"
    message = f"{url}: {detail}{remedy}"
    if status in _OUTAGES:
        return UnreachableError(message)
    if status >= 500:
        return RunError(message)
    return RefusedError(message, status, str((problem or {}).get("key") or ""))


def unreachable(url: str, error: httpx2.TransportError) -> UnreachableError:
    """The error of a connection that failed or was lost."""
    reason = str(error) or type(error).__name__
    return UnreachableError(
        f"{url}: the service cannot be reached ({reason}); check the address, and that "
        "`schedsearch serve` runs there"
    )


def no_service(url: str) -> InputError:
    """The error of an answer that no service of schedsearch gives."""
    return InputError(
        f"{url}: what answers there must be a service of schedsearch, but is something else; "
        "correct the address"
    )


def _correct(has_token: bool) -> str:
    if has_token:
        return "set SCHEDSEARCH_TOKEN to one that is valid (`schedsearch token create` makes it)"
    return "set SCHEDSEARCH_TOKEN (`schedsearch token create` makes one)"


def _problem(response: httpx2.Response) -> Mapping[str, Any] | None:
    if response.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None
