"""Files that commands write: over what, and what happens to tables when they go to stdout."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from schedsearch.cli.output import output
from schedsearch.core.streams import is_stdout
from schedsearch.errors import InputError

Force = Annotated[bool, typer.Option("--force", help="Replace files that are something else, too.")]


@contextmanager
def beside(out: Path, as_json: bool) -> Iterator[None]:
    """Print results to stderr within the block if stdout is the file that is written.

    Raises:
        InputError: Results are wanted on stdout too.
    """
    if not is_stdout(out):
        yield
        return
    if as_json:
        raise InputError(f"{out}: takes standard output, which --json needs too; name a file")
    output.stderr = True
    try:
        yield
    finally:
        output.stderr = False
