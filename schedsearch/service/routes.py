"""Routes of studies: names may have any letters, so that a slash in one divides no path."""

import re
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

_ESCAPED = re.compile("%(2f|25)", re.IGNORECASE)


class NamedRoute(APIRoute):
    """A route in whose path `%2F` is a letter of a name."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route answers a request, and the parts of its path."""
        raw = scope.get("raw_path", b"").decode("ascii", "replace")
        if "%2f" not in raw.lower():
            return super().matches(scope)
        match, found = super().matches({**scope, "path": unquote(_ESCAPED.sub(r"%25\1", raw))})
        if "path_params" in found:
            parts = found["path_params"]
            found["path_params"] = {name: unquote(str(part)) for name, part in parts.items()}
        return match, found
