"""Targets that are written through, not replaced: `-`, pipes, terminals, `/dev/stdout`."""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

STDOUT = Path("-")
"""As a target: standard output."""

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


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a target that is written through.

    Raises:
        OSError: It cannot be written.
    """
    if path == STDOUT:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    number = _descriptor(path)
    if number is not None:
        with os.fdopen(os.dup(number), "wb") as stream:
            yield stream
        return
    # A pipe that nobody reads would wait for ever.
    opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(opened, True)
    with os.fdopen(opened, "wb") as stream:
        yield stream


def _descriptor(path: Path) -> int | None:
    """Number of the open file of this process that a path stands for, by way of links too."""
    folders = ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd")
    for _ in range(40):  # as many links as Linux follows
        if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
