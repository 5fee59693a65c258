"""Markdown: names, estimates and tables as they look the same everywhere."""

import re
from collections.abc import Iterable, Sequence

from schedsearch.core.intervals import Interval

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")


def escape(name: str) -> str:
    """A name as Markdown shows it unchanged, also in a cell of a table."""
    return _SPECIAL.sub(r"\\\1", " ".join(name.split()))


def estimate(interval: Interval, sign: str = "") -> str:
    """Value and 95 % interval in four digits."""
    value, low, high = (
        format(number, f"{sign}.4f") for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
