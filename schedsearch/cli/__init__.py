"""The command line: translates arguments and errors, nothing else. Never imports torch itself."""

import os
import sys

from schedsearch.cli.commands import app
from schedsearch.cli.output import errors
from schedsearch.errors import InputError, SchedsearchError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; exit code 2 for unusable input, 1 for failed work."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        app()
    except SchedsearchError as error:
        errors.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
