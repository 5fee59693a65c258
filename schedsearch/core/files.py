"""Writing files: in one step, and never over something that is another thing.

A file is written beside its target and renamed when it is complete, so that whoever reads, and
whatever ends the process, finds the old content or the new. What such a process leaves behind is
called `.NAME.TOKEN.partial`; the next writer of the same target removes it.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from schedsearch.core.guards import check_unused, note_target, resolved
from schedsearch.core.partials import new_partial, remove_left_overs
from schedsearch.core.streams import STDOUT, check_stream, is_stream, open_stream
from schedsearch.errors import InputError, RunError, SchedsearchError

_FORCE = "replace it with --force (from Python: `force=True`)"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HEAD = 65_536


class Mark(Protocol):
    """Finds out by the first bytes of a file whether it is of a kind; a pattern does."""

    def search(self, head: bytes, /) -> object:
        """Something true if it is."""


@dataclass(frozen=True)
class Kind:
    """What a file is, told by how it begins.

    Attributes:
        name: With its article, as messages say it.
        mark: Found in the first bytes of every such file.
    """

    name: str
    mark: Mark


def check_target(path: Path, kind: Kind, *, force: bool = False) -> None:
    """Refuse a place that `write_file` would refuse, before the work whose result it takes.

    Raises:
        InputError: It cannot be written, or what is there must not be replaced.
    """
    try:
        if is_stream(path):
            check_stream(path)
            return
        _check_content(path, kind, force)
        check_folder(resolved(path).parent)
        note_target(resolved(path))
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made, nor the folder itself where it lacks.

    Raises:
        InputError: It is something else, or there is no right to write there.
    """
    if folder == STDOUT:
        raise InputError(f"{folder}: is standard output, which takes no folder; name a folder")
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    found = "" if os.path.isdir(place) else "is no folder and "
    if found or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"{folder}: cannot be used as a folder: {place} {found}cannot be written in; name "
            f"another"
        )


def check_files(folder: Path, kind: Kind, mark: str, *, force: bool = False) -> None:
    """Refuse a folder that does not hold what `replacing_files` has put there before.

    Args:
        folder: May be empty or lack.
        kind: What the folder is, told by how the file `mark` in it begins.
        mark: Name of that file.
        force: Accept any folder.

    Raises:
        InputError: It is something else, or cannot be written.
    """
    check_folder(folder)
    try:
        if force or not os.path.exists(folder) or not os.listdir(folder):
            return
        known = os.path.isfile(folder / mark) and _begins_as(folder / mark, kind)
    except OSError as error:
        raise _unwritable(folder, error) from None
    if not known:
        raise InputError(
            f"{folder}: exists and is not {kind.name}; name another folder, or {_FORCE}"
        )


def write_file(path: Path, content: bytes, kind: Kind, *, force: bool = False) -> None:
    """Write a file in one step, in folders that are made where they lack.

    A link is followed. What is no regular file, such as a pipe or `/dev/stdout`, is written
    through; `-` is standard output.

    Args:
        path: The file.
        content: All of it.
        kind: What it is; another kind of file is not replaced.
        force: Replace that too.

    Raises:
        InputError: The place cannot be written or must not be replaced; what was there is
            untouched.
        RunError: The disk is full, or a stream cannot be written.
    """
    try:
        if is_stream(path):
            with open_stream(path) as stream:
                stream.write(content)
            return
        with replacing(path, kind, force=force) as part, part.open("wb") as stream:
            stream.write(content)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


@contextlib.contextmanager
def replacing(path: Path, kind: Kind, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty file beside `path`, which takes its place when the block ends.

    Args:
        path: The file, in folders that are made where they lack; a link is followed.
        kind: What it is; another kind of file is not replaced.
        force: Replace that too.

    Raises:
        InputError: What is there must not be replaced.
        OSError: The place cannot be written; what was there is untouched.
    """
    _check_content(path, kind, force)
    target = resolved(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_left_overs(target)
    part, lock = new_partial(target)
    try:
        with contextlib.suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    finally:
        os.close(lock)
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def replacing_files(folder: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, whose files go there one by one when the block ends.

    Each takes the place of what has its name; other files stay.

    Args:
        folder: Made where it lacks.
        mark: Name of the file that `check_files` knows the folder by. It goes first, so that the
            folder is known again if the writer is killed before the last.

    Raises:
        InputError: A file there is in use.
        OSError: The place cannot be written.
    """
    target = resolved(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_left_overs(target)
    part, lock = new_partial(target, is_folder=True)
    try:
        yield part
        files = sorted(part.iterdir(), key=lambda file: (file.name != mark, file.name))
        places = {file: resolved(folder / file.name) for file in files}
        for file, place in places.items():
            check_unused(folder / file.name, place)
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        target.mkdir(exist_ok=True)
        for file, place in places.items():
            file.replace(place)
    finally:
        os.close(lock)
        shutil.rmtree(part, ignore_errors=True)


def _check_content(path: Path, kind: Kind, force: bool) -> None:
    place = resolved(path)
    check_unused(path, place)
    try:
        mode = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: cannot be written, it is a folder; name a file inside it")
    if stat.S_ISBLK(mode):
        raise InputError(f"{path}: cannot be written, it is a disk; name a file")
    if not force and not _begins_as(place, kind):
        raise InputError(f"{path}: exists and is not {kind.name}; name another file, or {_FORCE}")


def _begins_as(file: Path, kind: Kind) -> bool:
    """Whether a file is of a kind; an empty one is of any."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    return not head or bool(kind.mark.search(head))


def _unwritable(path: Path, error: OSError | ValueError) -> SchedsearchError:
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) in _FULL:
        return RunError(f"{path}: cannot be written ({reason}); make room, or name another place")
    return InputError(f"{path}: cannot be written ({reason}); name another place")
