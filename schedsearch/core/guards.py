"""Files in use: no output may land in them, by whatever name or descriptor it reaches them."""

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schedsearch.errors import InputError

Place = Path | int
"""A path, or the number of an open file of this process."""

_STREAMS = {1: "standard output", 2: "standard error"}

_Identity = tuple[int, int]


@dataclass
class _Command:
    """What a command has read so far, and where it is going to write."""

    read: set[_Identity] = field(default_factory=set)
    targets: set[Place] = field(default_factory=set)


_guarded: Counter[Path] = Counter()
_command: _Command | None = None


@contextlib.contextmanager
def guarded(*paths: Path) -> Iterator[None]:
    """Let nothing in this process write into these files while the block runs.

    Raises:
        InputError: This is a command that writes into one of them.
    """
    for path in paths:
        if writer := _writer(_identity(path)):
            raise InputError(f"{path}: {writer}; send it elsewhere")
    places = [resolved(path) for path in paths]
    _guarded.update(places)
    try:
        yield
    finally:
        _guarded.subtract(places)


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """Within the block, let what is read and what is written be different files.

    Standard output and error count as written.
    """
    global _command
    outer, _command = _command, _Command()
    try:
        yield
    finally:
        _command = outer


def note_read(path: Path) -> None:
    """Guard a file that is read, to the end of the command.

    Raises:
        OSError: The command writes into it.
    """
    if _command is None or (found := _identity(path)) is None:
        return
    if writer := _writer(found):
        raise OSError(errno.EBUSY, writer, str(path))
    _command.read.add(found)


def note_target(place: Place) -> None:
    """Let the command read nothing from a place that it is going to write to."""
    if _command is not None:
        _command.targets.add(place)


def check_unused(path: Path, place: Place) -> None:
    """Refuse to write into a file that is in use.

    Args:
        path: What errors call it.
        place: What is written.

    Raises:
        InputError: It is in use.
    """
    found = _identity(place)
    guards = [guard for guard, times in _guarded.items() if times]
    in_use = found is not None and (
        found in map(_identity, guards) or (_command is not None and found in _command.read)
    )
    if in_use or place in guards:
        raise InputError(f"{path}: is in use by this very command; name another file")


def resolved(path: Path) -> Path:
    """The path without links, whether or not there is a file."""
    return Path(os.path.realpath(path))


def send_nowhere(number: int) -> None:
    """Let an open file, or one that is closed, lead nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)  # as standard streams are
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)


def _writer(found: _Identity | None) -> str | None:
    """How the command writes into a file, if it does."""
    if _command is None or found is None:
        return None
    for number, name in _STREAMS.items():
        if _identity(number) == found:
            send_nowhere(number)  # the complaint about it included
            return f"{name} of this very command goes there"
    if found in map(_identity, _command.targets):
        return "this very command writes there"
    return None


def _identity(place: Place) -> _Identity | None:
    """Device and number of a file; None of a pipe or terminal, which many read and write."""
    try:
        found = os.stat(place)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
