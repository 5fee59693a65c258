"""Targets that are written through, not replaced: `-`, pipes, terminals, `/dev/stdout`."""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from schedsearch.core.guards import check_unused, note_target
from schedsearch.errors import RunError

STDOUT = Path("-")
"""As a target: standard output."""

STANDARD_OUTPUT = "standard output"
"""What errors of the stream have for a file name."""

_STDOUT_NUMBER = 1


def is_stream(path: Path) -> bool:
    """Say whether a target is written through, not replaced: `-`, a pipe or a terminal."""
    try:
        if path == STDOUT or _descriptor(path) is not None:
            return True
        mode = path.stat().st_mode
    except (OSError, ValueError):  # what is wrong shows when it is written
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


def is_stdout(path: Path) -> bool:
    """Say whether a target is standard output, by whatever name."""
    try:
        return path == STDOUT or _descriptor(path) == _STDOUT_NUMBER
    except (OSError, ValueError):
        return False


def check_stream(path: Path) -> None:
    """Refuse a target that cannot be written through, before the work whose result it takes.

    Raises:
        InputError: It leads to a file in use.
        OSError: It is closed.
    """
    if is_stdout(path) and sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", str(path))
    number = _descriptor(path)
    if number is not None:
        os.fstat(number)
        check_unused(path, number)
        note_target(number)


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a target that is written through.

    Raises:
        InputError: It leads to a file in use.
        OSError: It cannot be opened.
        RunError: It cannot be written.
    """
    check_stream(path)
    stream = _opened(path)
    try:
        if is_stdout(path):
            sys.stdout.flush()
        yield stream
        stream.flush()
    except OSError as error:
        name = str(path)
        if is_stdout(path):
            error.filename = name = STANDARD_OUTPUT
        raise RunError(f"{name} cannot be written ({error.strerror}); send it elsewhere") from error
    finally:
        if stream is not getattr(sys.stdout, "buffer", None):
            with contextlib.suppress(OSError):  # it was said above
                stream.close()


def _opened(path: Path) -> BinaryIO:
    number = _descriptor(path)
    if number is not None:
        return os.fdopen(os.dup(number), "wb")
    if path == STDOUT:  # what stands in for it has no number
        return sys.stdout.buffer
    # A pipe that nobody reads would wait for ever.
    opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(opened, True)
    return os.fdopen(opened, "wb")


def _descriptor(path: Path) -> int | None:
    """Number of the open file of this process that a path stands for, by way of links too."""
    if path == STDOUT:
        try:
            return sys.stdout.fileno()
        except (AttributeError, ValueError):
            return None
    folders = ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd")
    for _ in range(40):  # as many links as Linux follows
        if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
