"""Descriptions of fields and arguments, read from the docstrings that are their one place."""

import inspect
import re
from typing import Any

_ENTRY = re.compile(r"^(\w+): (.*)$")


def entries(documented: Any, section: str) -> dict[str, str]:
    """Names under `Attributes:` or `Args:` of a Google docstring, with their texts on one line."""
    lines = iter((inspect.cleandoc(documented.__doc__ or "")).splitlines())
    for line in lines:
        if line == f"{section}:":
            break
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if line and not line.startswith(" "):
            break
        entry = _ENTRY.match(line[4:])
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif line.strip():
            found[name] += f" {line.strip()}"
    return found


def attributes(cls: type) -> dict[str, str]:
    """Descriptions of a class's fields, those of its bases in the same package included."""
    package = cls.__module__.partition(".")[0]
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] == package:
            found |= entries(base, "Attributes")
    return found


def summary(documented: Any) -> str:
    """First paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(documented.__doc__ or "").split("\n\n")[0].split())
