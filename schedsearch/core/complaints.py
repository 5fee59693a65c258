"""What pydantic found wrong, in the house form: the place, what must hold, what was found."""

import difflib
import re
from collections.abc import Container, Mapping, Set
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from schedsearch.core.shown import shown

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a field that does not exist, in a model and in a dataclass."""


_LONGEST_PATH = 200


def complaint(
    error: ValidationError,
    unknown: str,
    places: Mapping[str, Set[str]],
    variants: Container[str] = (),
    missing: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """First complaint; a misspelled field comes before the one that is missing for it.

    Args:
        error: What validation raised.
        unknown: What is said of a field that does not exist there; `{hint}` becomes the nearest
            name, or where the field belongs.
        places: Where fields belong, as `field_places` has it.
        variants: Names of the models between which a field chooses; they are no part of its path.
        missing: What to add where a field of that name is missing.
    """
    complaints = error.errors(include_url=False)
    first = min(complaints, key=lambda found: found["type"] not in _UNKNOWN)
    parts = [part for part in first["loc"] if part not in variants]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    path = f"{path.removeprefix('.'):.{_LONGEST_PATH}}"
    if first["type"] == "missing":
        return f"`{path}` is missing; add {missing.get(str(first['loc'][-1]), 'it')}"
    if first["type"] in _UNKNOWN:
        return f"`{path}` {unknown.format(hint=_hint(str(first['loc'][-1]), path, places))}"
    must = re.sub(r"^(Input|Value|String|List|Dictionary) should", "must", first["msg"])
    must = re.sub(r"a valid dictionary.*", "an object", must)
    must = re.sub(r"^Value error, ", "", must)
    return f"{f'`{path}` ' if path else ''}{must}, but got {shown(first['input'])}; correct it"


def field_places(model: type[BaseModel]) -> dict[str, set[str]]:
    """Paths at which each name is a field of a model, or of one inside it."""
    schema: dict[str, Any] = model.model_json_schema()
    places: dict[str, set[str]] = {}

    def walk(part: Any, path: str, within: tuple[str, ...] = ()) -> None:
        if not isinstance(part, dict):
            return
        name = part.get("$ref", "").rpartition("/")[2]
        if name and name not in within:
            walk(schema["$defs"][name], path, (*within, name))
        for name, inner in part.get("properties", {}).items():
            place = f"{path}.{name}".removeprefix(".")
            places.setdefault(name, set()).add(place)
            walk(inner, place, within)
        for inner in (*part.get("anyOf", ()), *part.get("oneOf", ())):
            walk(inner, path, within)
        walk(part.get("items"), f"{path}[]", within)

    walk(schema, "")
    return places


def _hint(name: str, path: str, places: Mapping[str, Set[str]]) -> str:
    if name not in places:
        near = difflib.get_close_matches(name, list(places), n=1)
        return f"did you mean `{near[0]}`? " if near else ""
    elsewhere = places[name] - {path}
    return f"it belongs at `{min(elsewhere)}`; " if len(places[name]) == len(elsewhere) == 1 else ""
