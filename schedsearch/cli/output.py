"""Consoles, tables, progress bars and JSON: how results reach a terminal or a script."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console, JustifyMethod
from rich.logging import RichHandler
from rich.table import Table

from schedsearch.cli.streams import is_unicode
from schedsearch.core.shown import readable

output = Console()
errors = Console(stderr=True)

_FRAME = 3
"""Characters of a column beside its text: a line and two blanks."""

_LEAST = 2
"""Columns of a terminal that the narrowest cell takes: some letters are that wide."""

OnProgress = Callable[[int, int], None]


def set_verbosity(level: int) -> None:
    """Send the package's log to stderr: -1 errors, 0 warnings, 1 information, 2 everything."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    log = logging.getLogger("schedsearch")
    log.setLevel(levels.get(level, logging.DEBUG))
    log.handlers = [RichHandler(console=errors, show_path=level > 1)]


def print_json(result: Any, indent: int | None = 2) -> None:
    """Write a dataclass, or plain values, as JSON to stdout, whatever its encoding lacks."""
    text = json.dumps(_plain(result), indent=indent, ensure_ascii=not is_unicode(), allow_nan=False)
    output.file.write(text + "\n")


def _plain(value: Any) -> Any:
    """What JSON can express, with file names that are no text as messages show them."""
    from pydantic_core import to_jsonable_python

    if isinstance(value, (str, Path)):
        return readable(str(value))
    if isinstance(value, Mapping):
        return {readable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    # JSON has no infinity, which the interval of a single value has.
    return to_jsonable_python(value, inf_nan_mode="null")


def bar(length: int) -> str:
    """A bar of as many characters, in the encoding of standard output."""
    return ("█" if is_unicode() else "#") * length


def table(*headers: str, title: str | None = None) -> Table:
    """Table whose columns after the first are right-aligned.

    What is too long for its column goes on in the next line: an ellipsis would cut the end of a
    number or a name, which nobody could tell from a whole one.
    """
    made = Table(title=title, title_justify="left", header_style="bold")
    for number, header in enumerate(headers):
        justify: JustifyMethod = "right" if number else "left"
        made.add_column(header, justify=justify, overflow="fold", min_width=_LEAST)
    return made


def show(made: Table) -> None:
    """Print a table whole: where the terminal is too narrow for it, in lines longer than that."""
    least = len(made.columns) * (_LEAST + _FRAME) + 1
    if output.width < least:
        made.width = least
    output.print(made, crop=False)


def matrix(
    corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]], title: str
) -> Iterator[Table]:
    """Tables that together hold a matrix; each has as many columns as the console shows whole.

    Args:
        corner: What the names of rows and columns are.
        columns: Names of the columns.
        rows: One cell for each column, by the name of the row.
        title: Of all of them; where there are several, each adds its columns.
    """
    cell = max(map(len, (*columns, *chain(*rows.values())))) + _FRAME
    names = max(map(len, (corner, *rows))) + _FRAME + 1
    tables = math.ceil(len(columns) / max(1, (output.width - names) // cell))
    each = math.ceil(len(columns) / tables)
    for first in range(0, len(columns), each):
        shown = columns[first : first + each]
        part = f", {corner}s {shown[0]} to {shown[-1]}" if tables > 1 else ""
        made = table(corner, *shown, title=title + part)
        for name, cells in rows.items():
            made.add_row(name, *cells[first : first + each])
        yield made


@contextmanager
def progress() -> Iterator[Callable[[str], OnProgress]]:
    """Bars on stderr; call what is yielded with a name, and its result with (done, total)."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:

        def start(name: str) -> OnProgress:
            task = bars.add_task(name, total=None)

            def advance(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            return advance

        yield start
