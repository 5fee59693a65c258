"""Standard output and error: every character readable in whatever encoding they have."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from schedsearch.core.guards import send_nowhere
from schedsearch.core.shown import readable
from schedsearch.core.streams import STANDARD_OUTPUT

READABLE = "schedsearch.readable"
"""Name of the error handler that `make_readable` gives the streams."""

SHOWN = 4000
"""Characters of the longest message; what lies in the middle of a longer one is left out."""


def one_line(text: str) -> str:
    """A message in bounded length, whose control characters cannot act on a terminal."""
    if len(text) > SHOWN:
        half = (SHOWN - 5) // 2
        text = f"{text[:half]} ... {text[-half:]}"
    shown = (one if one == "\n" or one.isprintable() else _escape(one) for one in readable(text))
    return "".join(shown)


def open_missing() -> None:
    """Let standard input, output and error that are closed lead nowhere.

    The next file to be opened would take the number, and what is printed would land in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            send_nowhere(number)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")


def make_readable() -> None:
    """Let standard output and error write every text, by escapes where the encoding lacks it."""
    codecs.register_error(READABLE, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)
    for name in ("write", "flush") if sys.stdout is not None else ():
        setattr(sys.stdout, name, _naming(getattr(sys.stdout, name)))


def is_unicode() -> bool:
    """Say whether standard output can write every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return encoding.lower().startswith("utf")


def abandon_output() -> None:
    """Send to nowhere what standard output still holds, and would fail on again at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        send_nowhere(sys.stdout.fileno())


def _naming(write: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but an error says that it is standard output that cannot be written."""

    @wraps(write)
    def named(*args: Any) -> Any:
        try:
            return write(*args)
        except OSError as error:
            error.filename = STANDARD_OUTPUT
            raise

    return named


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = readable(error.object[error.start : error.end])
    if error.encoding.lower().replace("_", "-") == "utf-8":
        return text.encode(), error.end
    return text.encode("ascii", "backslashreplace").decode(), error.end


def _escape(one: str) -> str:
    return one.encode("unicode_escape").decode()
