"""What pydantic found wrong, in the house form: the place, what must hold, what was found."""

import difflib
import re
from collections.abc import Container, Iterable, Mapping
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
    fields: Iterable[str],
    variants: Container[str] = (),
    missing: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """First complaint; a misspelled field comes before the one that is missing for it.

    Args:
        error: What validation raised.
        unknown: What is said of a field that does not exist; `{hint}` becomes the nearest name.
        fields: Names that exist anywhere in the model.
        variants: Names of the models between which a field chooses; they are no part of its path.
        missing: What to add where a field of that name is missing.
    """
    complaints = error.errors(include_url=False)
    first = min(complaints, key=lambda found: found["type"] not in _UNKNOWN)
    places = [part for part in first["loc"] if part not in variants]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in places)
    path = f"{path.removeprefix('.'):.{_LONGEST_PATH}}"
    if first["type"] == "missing":
        return f"`{path}` is missing; add {missing.get(str(first['loc'][-1]), 'it')}"
    if first["type"] in _UNKNOWN:
        near = difflib.get_close_matches(str(first["loc"][-1]), list(fields), n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        return f"`{path}` {unknown.format(hint=hint)}"
    must = re.sub(r"^(Input|Value|String|List|Dictionary) should", "must", first["msg"])
    must = re.sub(r"a valid dictionary.*", "an object", must)
    must = re.sub(r"^Value error, ", "", must)
    return f"{f'`{path}` ' if path else ''}{must}, but got {shown(first['input'])}; correct it"


def field_names(model: type[BaseModel]) -> set[str]:
    """Names of the fields of a model and of all models inside it."""
    schema: dict[str, Any] = model.model_json_schema()
    parts = (schema, *schema.get("$defs", {}).values())
    return {name for part in parts for name in part.get("properties", ())}
