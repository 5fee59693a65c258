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
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "schedsearch":
            raise
        errors.print(
            f"[bold red]error:[/] {_escaped(package)} is not installed; install what this command "
            f"needs: {_escaped(_install(package))}",
            soft_wrap=True,
        )
        sys.exit(1)
    except SchedsearchError as error:
        errors.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)


_SEARCH = ("sqlalchemy", "alembic", "optuna", "botorch", "matplotlib", "pandas", "yaml")


def _install(package: str) -> str:
    extra = "[search]" if package in _SEARCH else "[cluster]" if package == "psycopg" else ""
    return f"pip install 'schedsearch{extra}'"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
