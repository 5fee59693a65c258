"""The edge of the command line: whatever ends a command becomes one line and an exit code."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeGuard

import typer
from typer.main import get_command

from schedsearch.cli.output import errors
from schedsearch.cli.streams import abandon_output, one_line
from schedsearch.core.guards import one_command
from schedsearch.core.shown import shown
from schedsearch.core.streams import STANDARD_OUTPUT
from schedsearch.errors import InputError, RunError, SchedsearchError

_INTERRUPTED = 130
_GONE = "the working directory is gone; change to one that exists"
_SEARCH = ("sqlalchemy", "alembic", "optuna", "botorch", "matplotlib", "pandas", "yaml")
_CLUSTER = ("psycopg", "ray")
_SERVICE = ("httpx2",)

_log = logging.getLogger(__name__)


def ended(app: typer.Typer, args: Sequence[str]) -> int:
    """Run a command line, and return its exit code once all that it wrote is written."""
    code = _guarded(lambda: _run(app, args))
    return code or _guarded(_flush)


def check_place() -> None:
    """Refuse to work in a directory that is gone, in which libraries fail in words of their own.

    Raises:
        RunError: It is.
    """
    if not _has_place():
        raise RunError(_GONE)


def _run(app: typer.Typer, args: Sequence[str]) -> int:
    command = get_command(app)
    with one_command(), command.make_context(app.info.name, list(args)) as context:
        command.invoke(context)
    return 0


def _flush() -> int:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return 0


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (KeyboardInterrupt, typer.Abort) as error:
        return _failed("interrupted", _INTERRUPTED, error)
    except typer.TyperException as error:
        return _misused(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "schedsearch":
            raise
        return _failed(
            f"{package} is not installed; install what this command needs: {_install(package)}",
            1,
            error,
        )
    except SchedsearchError as error:
        if _is_output(error.__cause__):
            return _refused(error.__cause__)
        return _failed(str(error), 2 if isinstance(error, InputError) else 1, error)
    except UnicodeEncodeError as error:
        return _failed(f"names must be text, but got {shown(error.object)}; correct it", 2, error)
    except OSError as error:
        return _refused(error)


def _failed(message: str, code: int, error: BaseException) -> int:
    # Standard error may be full or closed too, and then nobody can be told.
    with contextlib.suppress(OSError):
        errors.print("error:", style="bold red", end=" ")
        errors.print(one_line(message), soft_wrap=True, markup=False, highlight=False)
        _log.debug("what led to it", exc_info=error)
    return code


def _misused(error: typer.TyperException) -> int:
    """What the parser of arguments says, with the command whose help explains them."""
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:  # help was asked for by giving no arguments, and stands on standard output
        return error.exit_code
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "schedsearch"
    message = message[0].lower() + message[1:]
    return _failed(f"{message}; see {place} --help", error.exit_code, error)


def _refused(error: OSError) -> int:
    """What the system would not do, where nobody closer knew what to say of it."""
    reason = error.strerror or str(error) or type(error).__name__
    if _is_output(error):
        abandon_output()
        if isinstance(error, BrokenPipeError):  # whoever reads has seen enough
            return 1
        return _failed(f"standard output cannot be written ({reason}); send it elsewhere", 1, error)
    if not _has_place():
        return _failed(_GONE, 1, error)
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return _failed(f"{where}the system refused ({reason}); correct that and run again", 1, error)


def _is_output(error: BaseException | None) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.filename == STANDARD_OUTPUT


def _has_place() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _install(package: str) -> str:
    extras = {"[search]": _SEARCH, "[cluster]": _CLUSTER, "[service]": _SERVICE}
    extra = next((name for name, packages in extras.items() if package in packages), "")
    return f"pip install 'schedsearch{extra}'"
