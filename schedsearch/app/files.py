"""Writing results where a user wants them."""

import contextlib
import os
import secrets
from pathlib import Path

from schedsearch.errors import InputError


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one step, in folders that are made where they lack.

    A reader sees the old content or the new, never a part.

    Raises:
        InputError: The place cannot be written; what was there is untouched.
    """
    # Beside the target, because a rename is atomic only within one file system.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
