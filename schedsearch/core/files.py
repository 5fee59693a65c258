"""Writing files: in one step, and never over something that is another thing.

A file is written beside its target and renamed when it is complete, so that whoever reads, and
whatever ends the process, finds the old content or the new. What such a process leaves behind is
called `.NAME.TOKEN.partial`; the next writer of the same target removes it.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from schedsearch.errors import InputError

STDOUT = Path("-")
"""As a target: standard output."""

_HEAD = 65_536
_STEM = 80
"""Bytes of a target's name that a partial file repeats; a name may have 255 in all."""
_PARTIAL = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}\.partial")
_FOLDERS_OF_DESCRIPTORS = ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd")

_guarded: dict[Path, int] = {}


@dataclass(frozen=True)
class Kind:
    """What a file is, told by how it begins.

    Attributes:
        name: With its article, as messages say it.
        mark: Found in the first bytes of every such file.
    """

    name: str
    mark: re.Pattern[bytes]


PICTURE = Kind(
    "a picture",
    # PNG, PDF, PostScript, SVG (also zipped), JPEG, TIFF, WebP, GIF, PGF.
    re.compile(
        rb"\A(?:\x89PNG|%PDF|%!PS|<\?xml|<svg|\x1f\x8b|\xff\xd8|II\*|MM\0\*|RIFF|GIF8|%% Creator)"
    ),
)


def json_kind(name: str, form: str) -> Kind:
    """A JSON object that says what it is: `"format": "{form}/..."`."""
    return Kind(name, re.compile(rb'"format"\s*:\s*"' + re.escape(form.encode()) + b"/"))


@contextlib.contextmanager
def guarded(*paths: Path) -> Iterator[None]:
    """Let nothing in this process replace these files while the block runs, whatever is forced."""
    places = [_resolved(path) for path in paths]
    for place in places:
        _guarded[place] = _guarded.get(place, 0) + 1
    try:
        yield
    finally:
        for place in places:
            _guarded[place] -= 1
            if not _guarded[place]:
                del _guarded[place]


def check_target(path: Path, kind: Kind, *, force: bool = False) -> None:
    """Refuse a place that `write_file` would refuse, before the work whose result it takes.

    Raises:
        InputError: It cannot be written, or what is there must not be replaced.
    """
    try:
        if is_stream(path):
            return
        _check_content(path, kind, force)
        check_folder(_resolved(path).parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made, nor the folder itself where it lacks.

    Raises:
        InputError: It is something else, or there is no right to write there.
    """
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not os.path.isdir(place):
        raise InputError(f"{folder}: {place} is no folder; name another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {place} cannot be written in; name another place")


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
    """
    try:
        if is_stream(path):
            with open_stream(path) as stream:
                stream.write(content)
            return
        with replacing(path, kind, force=force) as part, part.open("wb") as stream:
            stream.write(content)
    except OSError as error:
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
    target = _resolved(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_overs(target)
    part, lock = _new_partial(target)
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


def is_partial(path: Path) -> bool:
    """Say whether a file is what a writer leaves behind that was killed."""
    return _PARTIAL.fullmatch(path.name) is not None


def is_stream(path: Path) -> bool:
    """Say whether a target is written through, not replaced: `-`, a pipe or a terminal.

    Raises:
        OSError: The path cannot be looked at.
    """
    if path == STDOUT or _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


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
    for _ in range(40):  # as many links as Linux follows
        if path.name.isdecimal() and os.path.realpath(path.parent) in _FOLDERS_OF_DESCRIPTORS:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _check_content(path: Path, kind: Kind, force: bool) -> None:
    place = _resolved(path)
    if place in _guarded:
        raise InputError(f"{path}: is in use by this very command; name another file")
    try:
        mode = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; name a file inside it")
    if stat.S_ISBLK(mode):
        raise InputError(f"{path}: is a disk; name a file")
    if force:
        return
    with place.open("rb") as stream:
        head = stream.read(_HEAD)
    if head and kind.mark.search(head) is None:
        raise InputError(
            f"{path}: exists and is not {kind.name}; name another file, or replace it with --force"
        )


def _resolved(path: Path) -> Path:
    """The path without links, whether or not there is a file."""
    return Path(os.path.realpath(path))


def _stem(target: Path) -> str:
    return os.fsdecode(os.fsencode(target.name)[:_STEM])


def _new_partial(target: Path) -> tuple[Path, int]:
    """A new file beside the target, locked as long as its writer lives."""
    while True:
        part = target.with_name(f".{_stem(target)}.{secrets.token_hex(4)}.partial")
        lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _lock(lock) is not False and part.exists():
            return part, lock
        os.close(lock)  # between the two steps another writer took it for a left-over


def _remove_left_overs(target: Path) -> None:
    stem = _stem(target)
    for name in os.listdir(target.parent):
        match = _PARTIAL.fullmatch(name)
        if match is None or match["stem"] != stem:
            continue
        left = target.with_name(name)
        with contextlib.suppress(OSError):
            lock = os.open(left, os.O_RDWR)
            try:
                if _lock(lock):
                    left.unlink()
            finally:
                os.close(lock)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; False if another process has, None where there are no locks."""
    if os.name != "posix":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written ({error.strerror or error}); name another place")
