"""The sample of a row, by one rule for JSONL lines and for rows that a program holds.

- `question` is a text; `id` and `kind` are texts or whole numbers, and may be left out.
- `answer`, or a list `answers`, holds texts or finite numbers; it may be left out where the metric
  compares with the full model. A number is taken as its text: as it stands in the line, or as
  Python writes it.
- `image`, or a list `images`: files, and PIL images from a program. Addresses are never read.
"""

import contextlib
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np

from schedsearch.core.sample import ImageSource, Sample
from schedsearch.core.shown import shown
from schedsearch.errors import DataError

T = TypeVar("T")

KEYS = ("id", "question", "answer", "answers", "image", "images", "kind")
_TWINS = (("answer", "answers"), ("image", "images"))
# Two letters swapped in `answer` are as near as .83, `answer_id` and `image_id` at most .8.
_NEAR = 0.82
_ADDRESS = re.compile(r"(?:data|file|ftp|gs|https?|s3):|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_SHOWN_ADDRESS = 60

Source = Callable[[str, object], ImageSource]
"""Makes a source of what stands under a key."""


@dataclass(frozen=True)
class Number:
    """A number of a JSON text, as it stands there."""

    text: str

    def __repr__(self) -> str:
        return self.text


def read_rows(
    rows: Iterable[tuple[str, Any]],
    sample: Callable[[Any], Sample],
    content: Callable[[Sample], T],
    what: str,
) -> tuple[tuple[Sample, ...], list[T]]:
    """Samples of rows, and the content of each.

    Args:
        rows: Each after the place that errors name.
        sample: Of a row.
        content: Of a sample, images included.
        what: What a row is called.

    Raises:
        DataError: Rows cannot be used, or share an id; the first is named, the others counted.
    """
    samples: dict[str, Sample] = {}
    contents: list[T] = []
    faults: list[str] = []
    for place, row in rows:
        try:
            found = sample(row)
            if found.id in samples:
                raise DataError(
                    f"`id` {shown(found.id)} stands on an earlier {what} too; give every sample "
                    "its own"
                )
            samples[found.id] = found
            contents.append(content(found))
        except DataError as error:
            faults.append(f"{place}: {error}")
    if faults:
        more = len(faults) - 1
        have = f"{more} more {what}s have" if more > 1 else f"1 more {what} has"
        raise DataError(faults[0] + (f"; {have} faults" if more else ""))
    return tuple(samples.values()), contents


def sample_of(row: Mapping[str, Any], number: int, source: Source) -> Sample:
    """The sample of a row whose keys have been checked.

    Args:
        row: Its fields.
        number: Names a sample that has no `id`.
        source: Makes image sources.

    Raises:
        DataError: A field is missing or wrong.
    """
    reason = "without an image there are no vision tokens"
    images = _items(row, "image", "images", source, reason)
    answers: tuple[str, ...] = ()
    if "answer" in row or "answers" in row:
        answers = _items(row, "answer", "answers", _answer, "the metric compares with it")
    return Sample(
        id=_label("id", row.get("id", str(number))),
        question=text_of("question", row.get("question")),
        answers=answers,
        images=images,
        kind=_label("kind", row["kind"]) if "kind" in row else "",
    )


def check_keys(row: Mapping[str, Any]) -> None:
    """Refuse keys that a sample does not have.

    Raises:
        DataError: There is one.
    """
    for key in row:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(KEYS)}"
            raise DataError(f"`{key:.200}` is not a key of a sample; {hint}")


def known_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sample in a row of a table, which has other columns and empty cells too.

    Raises:
        DataError: A key that is missing seems to be misspelt.
    """
    known = {key: row[key] for key in KEYS if row.get(key) is not None}
    there = {*known, *(key for twins in _TWINS if {*twins} & {*known} for key in twins)}
    absent = [key for key in KEYS if key not in there]
    for key in row:
        if key not in KEYS and isinstance(key, str):
            near = difflib.get_close_matches(key.strip().lower(), absent, n=1, cutoff=_NEAR)
            if near:
                raise DataError(
                    f"`{key:.200}` is not a key of a sample; did you mean `{near[0]}`? Rename the "
                    "column, or remove it"
                )
    return known


def text_of(key: str, value: object, kinds: str = "a text that is not empty") -> str:
    """The text itself.

    Raises:
        DataError: It is none, or blank.
    """
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if value is None else shown(value)
        raise DataError(f"`{key}` must be {kinds}, but got {found}; write one")
    return str(value)


def refuse_address(name: str) -> None:
    """Refuse what stands for content elsewhere, or is content itself, where a file is named.

    Raises:
        DataError: It is an address.
    """
    if _ADDRESS.match(name) is None:
        return
    scheme = name.partition(":")[0].lower()
    remedy = {
        "data": "decode it into a file (base64.b64decode of what follows the comma) and name that",
        "file": "name the file by its path alone",
    }.get(scheme, "download it once and name the file")
    raise DataError(
        f"image {_short(name)} is an address, and addresses are not read, so that a search finds "
        f"the same images whenever it goes on; {remedy}, or pass a PIL image from Python"
    )


def _short(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_ADDRESS else f"{name[:_SHOWN_ADDRESS]}...")


def _items(
    row: Mapping[str, Any], one: str, many: str, item: Callable[[str, object], T], reason: str
) -> tuple[T, ...]:
    if one in row and many in row:
        raise DataError(
            f"a sample must have either `{one}` or `{many}`, but got both; {reason}: remove one"
        )
    if one not in row and many not in row:
        raise DataError(f"`{one}` is missing; {reason}: give one, or a list as `{many}`")
    if one in row:
        try:
            return (item(one, row[one]),)
        except DataError as error:
            if not _is_list(row[one]):
                raise
            raise DataError(f"{error}, or use `{many}` for a list") from None
    values = row[many]
    if not _is_list(values) or not len(values):
        raise DataError(
            f"`{many}` must be a list that is not empty, but got {shown(values)}; {reason}: name "
            "one"
        )
    return tuple(item(many, value) for value in values)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _answer(key: str, value: object) -> str:
    if isinstance(value, Number):
        return value.text
    number = isinstance(value, (int, float, Decimal, np.integer, np.floating))
    if number and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # whole numbers that no float holds
            if math.isfinite(value):  # type: ignore[arg-type]
                return str(value)
    return text_of(key, value, "a text that is not empty, or a finite number")


def _label(key: str, value: object) -> str:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # more digits than Python writes out
            return str(value)
    if isinstance(value, Number) and value.text.removeprefix("-").isdecimal():
        return value.text
    return text_of(key, value, "a text that is not empty, or a whole number")
