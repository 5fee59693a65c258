"""Names of models: a path, or an id on the hub."""

import re

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def looks_like_path(name: str) -> bool:
    """Whether the name of a model can be no hub id, `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or _HUB_ID.fullmatch(name) is None
