"""Types of the tables' columns. What comes back is what was written, or `DamagedCell` is raised."""

import contextlib
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeVar

from pydantic_core import from_json
from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from schedsearch.store.failures import DamagedCell

T = TypeVar("T")


class Cell(TypeDecorator[T]):
    """A type that looks at each value it reads.

    Args:
        null: Whether the column may be empty.
        **options: Of the type after it.
    """

    cache_ok = True
    impl: type[TypeEngine[Any]] = Text

    content = "a value"
    """What messages call it."""

    def __init__(self, null: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.null = null

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return what turns a driver's value into ours."""
        return self.decode

    def decode_all(self, values: Sequence[Any]) -> Sequence[T | None]:
        """Return a column of a driver's values as ours: `decode` of each, in less time.

        Raises:
            DamagedCell: Nobody has written such a value.
        """
        there = [value for value in values if value is not None] if self.null else values
        return values if self.plain(there) else [self.decode(value) for value in values]

    def plain(self, _values: Sequence[Any]) -> bool:
        """Say whether `decode` would return each of these as it is; False where that is unknown."""
        return False

    def decode(self, value: Any) -> T | None:
        """Return a driver's value as ours.

        Raises:
            DamagedCell: Nobody has written such a value.
        """
        if value is None and self.null:
            return None
        raise DamagedCell(f"{_shown(value)} instead of {self.content}")


class Words(Cell[str]):
    """Text."""

    cache_ok = True
    content = "text"

    def plain(self, values: Sequence[Any]) -> bool:
        """Look at the types."""
        return {*map(type, values)} <= {str}

    def decode(self, value: Any) -> str | None:
        """Return text as it is."""
        return value if value.__class__ is str else super().decode(value)


class Whole(Cell[int]):
    """A whole number; each one counts something or is a key."""

    cache_ok = True
    impl = Integer
    content = "a whole number from 0 on"

    def plain(self, values: Sequence[Any]) -> bool:
        """Look at the types and at the least number."""
        return {*map(type, values)} <= {int} and min(values, default=0) >= 0

    def decode(self, value: Any) -> int | None:
        """Return a whole number as it is."""
        return value if value.__class__ is int and value >= 0 else super().decode(value)


class Real(Cell[float]):
    """A finite number."""

    cache_ok = True
    impl = Double
    content = "a finite number"

    def plain(self, values: Sequence[Any]) -> bool:
        """Look at the types and whether all are finite."""
        return {*map(type, values)} <= {float} and all(map(math.isfinite, values))

    def decode(self, value: Any) -> float | None:
        """Return a finite number as it is."""
        if value.__class__ is float and math.isfinite(value):
            return value
        return super().decode(value)


class Amount(Real):
    """A finite number from 0 on."""

    cache_ok = True
    content = "a finite number from 0 on"

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        """Refuse what would not be read again."""
        assert value is None or value >= 0, "negative amount"
        return value

    def plain(self, values: Sequence[Any]) -> bool:
        """Look at the least number, too."""
        return super().plain(values) and min(values, default=0.0) >= 0

    def decode(self, value: Any) -> float | None:
        """Look at the sign, too."""
        found = super().decode(value)
        return found if found is None or found >= 0 else Cell.decode(self, value)


class UtcTime(Cell[datetime]):
    """A moment in UTC, aware also where the database knows no time zones."""

    cache_ok = True
    impl = DateTime
    content = "a moment"

    def __init__(self, null: bool = False) -> None:
        super().__init__(null, timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive moment: nobody could say when it was."""
        assert value is None or value.tzinfo is not None, "naive time"
        return value and value.astimezone(UTC)

    def decode_all(self, values: Sequence[Any]) -> Sequence[datetime | None]:
        """Return a column, most of which SQLite has as text."""
        try:
            moments = list(map(datetime.fromisoformat, values))
        except (TypeError, ValueError):
            return super().decode_all(values)
        return [one.astimezone(UTC) if one.tzinfo else one.replace(tzinfo=UTC) for one in moments]

    def decode(self, value: Any) -> datetime | None:
        """Name the zone that SQLite forgets."""
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return super().decode(value)
        if not isinstance(value, datetime):
            return super().decode(value)
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Picture(Cell[bytes]):
    """A picture in the format WebP, by how it begins and as long as it says."""

    cache_ok = True
    impl = LargeBinary
    content = "a picture"

    def decode(self, value: Any) -> bytes | None:
        """Return a picture as it is."""
        if isinstance(value, bytes) and value[:4] == b"RIFF" and value[8:12] == b"WEBP":
            length = int.from_bytes(value[4:8], "little") + 8
            if length == len(value):
                return value
        return super().decode(value)


class Structure(Cell[Any]):
    """JSON of one shape."""

    cache_ok = True
    impl = JSON
    shape: type = object

    def __init__(self, null: bool = False) -> None:
        super().__init__(null, none_as_null=True)

    def decode_all(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return a column, of which SQLite has texts: read as one list, in a third of the time.

        What is no value of its own, but would be one together with its neighbours, is left to
        `decode`: it does not begin or end as a value, or makes another number of them, or has
        another form inside.
        """
        found: Sequence[Any] = ()
        if {*map(type, values)} == {str} and all(_is_enclosed(value) for value in values):
            with contextlib.suppress(ValueError):
                found = from_json(f"[{','.join(values)}]")
        if found and len(found) == len(values) and self.plain(found):
            return found
        return [self.decode(value) for value in values]

    def decode(self, value: Any) -> Any:
        """Return what the JSON says; PostgreSQL's driver has read it."""
        found = value
        if isinstance(value, str):
            try:
                found = from_json(value)
            except ValueError:
                return super().decode(value)
        return found if isinstance(found, self.shape) else super().decode(value)


class Mapping(Structure):
    """A JSON object."""

    cache_ok = True
    shape = dict
    content = "a JSON object"

    def plain(self, values: Sequence[Any]) -> bool:
        """Look at the types."""
        return {*map(type, values)} <= {dict}


class Numbers(Structure):
    """A JSON list of numbers; a schedule sees itself whether they are finite."""

    cache_ok = True
    shape = list
    content = "a JSON list of numbers"

    def plain(self, values: Sequence[Any]) -> bool:
        """Look at the types of lists and members."""
        if not {*map(type, values)} <= {list}:
            return False
        return {*map(type, chain.from_iterable(values))} <= {int, float}

    def decode(self, value: Any) -> Any:
        """Look at the types of the members, too."""
        found = super().decode(value)
        return found if {*map(type, found or ())} <= {int, float} else Cell.decode(self, value)


def _is_enclosed(text: str) -> bool:
    return f"{text[:1]}{text[-1:]}" in ("[]", "{}")


def _shown(value: object) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 60 else f"{text[:60]}..."
