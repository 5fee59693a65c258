"""What is being written and is not complete: `.NAME.TOKEN.partial`, beside its target."""

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

_STEM = 80
"""Bytes of a target's name that a partial file repeats; a name may have 255 in all."""
_PARTIAL = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}\.partial")


def is_partial(path: Path) -> bool:
    """Say whether a file is what a writer leaves behind that was killed."""
    return _PARTIAL.fullmatch(path.name) is not None


def _stem(target: Path) -> str:
    return os.fsdecode(os.fsencode(target.name)[:_STEM])


def new_partial(target: Path, is_folder: bool = False) -> tuple[Path, int]:
    """A new file, or folder, beside the target, locked as long as its writer lives."""
    while True:
        part = target.with_name(f".{_stem(target)}.{secrets.token_hex(4)}.partial")
        if is_folder:
            part.mkdir()
            lock = os.open(part, os.O_RDONLY)
        else:
            lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _lock(lock) is not False and part.exists():
            return part, lock
        os.close(lock)  # between the two steps another writer took it for a left-over


def remove_left_overs(target: Path) -> None:
    """Remove what killed writers of this target have left, and living ones do not hold."""
    stem = _stem(target)
    for name in os.listdir(target.parent):
        match = _PARTIAL.fullmatch(name)
        if match is None or match["stem"] != stem:
            continue
        left = target.with_name(name)
        with contextlib.suppress(OSError):
            lock = os.open(left, os.O_RDONLY if left.is_dir() else os.O_RDWR)
            try:
                if _lock(lock):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
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
