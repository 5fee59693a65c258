"""Reading the files that a user names."""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from schedsearch.core.guards import note_read
from schedsearch.errors import DataError

T = TypeVar("T")

OnProgress = Callable[[int, int], None]
"""Told how many are done, and how many there are."""


def read_file(path: Path, *, pipes: bool = True) -> bytes:
    """Return the content of a file; a device, which may have no end, is none.

    A command that reads a file cannot write into it any more.

    Args:
        path: The file.
        pipes: Read a pipe too, which waits for whoever writes it.

    Raises:
        OSError: It cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a name that no file has
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a device", str(path))
    if not pipes and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    note_read(path)
    return path.read_bytes()


def read_bytes(path: Path, what: str, *, pipes: bool = False) -> bytes:
    """Content of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return read_file(path, pipes=pipes)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{what} {path} cannot be read: {reason}; correct the path") from None


def place_of(name: str, folder: Path = Path()) -> Path:
    """Return the path of a file that a user named, relative to a folder; `~` is the home."""
    # Not Path.expanduser(), which raises for a user that there is not.
    return folder / os.path.expanduser(name)


def counted(items: Collection[T], on_progress: OnProgress | None) -> Iterator[T]:
    """Yield the items, and call with how many are done and how many there are after each."""
    for done, item in enumerate(items, start=1):
        yield item
        if on_progress is not None:
            on_progress(done, len(items))
