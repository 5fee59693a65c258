"""A study file while somebody writes it: the values of some keys, seen and changed one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from schedsearch.app.config import parse_mapping
from schedsearch.app.search_config import settings_class
from schedsearch.errors import InputError

GREATEST_DROP = "search.drop"
"""Stands for `tolerance` or `max_drop`, whichever the sampler has."""

_DROPS = ("tolerance", "max_drop")

TEMPLATE = """\
study: my-study
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 200
metric: exact_match
ranker: local
search:
  sampler: g-search
  tolerance: 0.01
"""
"""A study that can be searched as it is."""


def values(text: str, keys: Sequence[str]) -> dict[str, str]:
    """Values of keys in a study file, as text; empty where there is none, or none in one line.

    Args:
        text: The study file.
        keys: Paths such as `data.calibration`.
    """
    try:
        content = parse_mapping(text, "study")
    except InputError:
        return dict.fromkeys(keys, "")
    return {key: _text(_found(content, _real(content, key))) for key in keys}


def allowed(text: str, keys: Sequence[str]) -> set[str]:
    """Those of some keys that a study file with this sampler may have."""
    try:
        content = parse_mapping(text, "study")
    except InputError:
        return set(keys)
    section = settings_class(content.get("search"))
    if section is None:
        return set(keys)

    def fits(key: str) -> bool:
        top, _, rest = _real(content, key).partition(".")
        return top != "search" or rest.partition(".")[0] in section.model_fields

    return {key for key in keys if fits(key)}


def changed(text: str, key: str, value: str | float | None) -> str:
    """A study file with another value of one key; it is written anew, without its comments.

    Another sampler takes over those settings that it has too.

    Args:
        text: The study file.
        key: Path such as `data.calibration`.
        value: None: the key is left out.

    Raises:
        InputError: The text is no mapping of keys.
    """
    content = parse_mapping(text, "study")
    _set(content, _real(content, key).split("."), value)
    if key == "search.sampler":
        content["search"] = _taken_over(content["search"])
    return written(content)


def written(content: Mapping[str, Any]) -> str:
    """A study file with this content."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def _real(content: Mapping[str, Any], key: str) -> str:
    if key != GREATEST_DROP:
        return key
    section = settings_class(content.get("search"))
    has = section.model_fields if section else ()
    return f"search.{next((name for name in _DROPS if name in has), _DROPS[0])}"


def _taken_over(search: dict[str, Any]) -> dict[str, Any]:
    section = settings_class(search)
    if section is None:
        return search
    fields = section.model_fields
    found = {name: value for name, value in search.items() if name in fields}
    drops = [search[name] for name in _DROPS if name in search]
    wanted = next((name for name in _DROPS if name in fields), None)
    if drops and wanted and wanted not in found and fields[wanted].is_required():
        found[wanted] = drops[0]
    return found


def _found(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _set(content: dict[str, Any], parts: list[str], value: Any) -> None:
    head, *rest = parts
    if rest:
        inner = content.get(head)
        content[head] = dict(inner) if isinstance(inner, dict) else {}
        _set(content[head], rest, value)
        if content[head]:
            return
        value = None
    if value is None:
        content.pop(head, None)
    else:
        content[head] = value


def _text(value: Any) -> str:
    if value is None or isinstance(value, (Mapping, list)):
        return ""
    return value if isinstance(value, str) else str(value)
