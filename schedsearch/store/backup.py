"""Copies of a store, also of one in use: each is complete, or not there."""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

from schedsearch.core.files import Kind, replacing
from schedsearch.core.streams import is_stream, open_stream
from schedsearch.errors import InputError, RunError
from schedsearch.store.database import Database
from schedsearch.store.log import log_of

STORE = Kind("a store", re.compile(rb"\ASQLite format 3\0"))


def backup(database: Database, target: Path, force: bool = False) -> None:
    """Copy a store that may be in use into a new file, as of one moment.

    Args:
        database: Of the store.
        target: The file; what is no regular file, such as a pipe or `-`, is written through.
        force: Replace a file that exists.

    Raises:
        InputError: The file exists or cannot be created, or the store is a server's.
        RunError: It cannot be written.
    """
    if database.file is None:
        raise InputError(f"{database.name} is a PostgreSQL database; copy it with pg_dump")
    try:
        if is_stream(target):
            _stream(database, target)
            return
        if not force and os.path.lexists(target):
            raise _taken(target)
        target.parent.stat()
        with replacing(target, STORE, force=force) as part:
            _check_log(target)
            copy(database, part, target)
            _check_log(target)
            if not force:
                _claim(target, part)
    except OSError as error:
        raise InputError(f"{target} cannot be created ({error.strerror}); name another") from error


def copy(database: Database, part: Path, target: Path, lost: bool = False) -> None:
    """Copy a store into an empty file.

    Args:
        database: Of the store.
        part: The file.
        target: What messages call it.
        lost: Whether the store's own file is lost.

    Raises:
        RunError: It cannot be written.
    """
    with database.driver(lost) as source:
        try:
            with contextlib.closing(sqlite3.connect(part)) as made:
                made.execute("PRAGMA journal_mode=OFF")  # no second file to be left behind
                source.backup(made)
        except sqlite3.Error as error:
            raise RunError(
                f"the backup {target} could not be written ({error}); the store itself is "
                f"unchanged: free space or name another place"
            ) from error


def _stream(database: Database, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="schedsearch-") as folder:
        part = Path(folder) / "copy"
        part.touch()
        copy(database, part, part)
        with part.open("rb") as content, open_stream(target) as stream:
            shutil.copyfileobj(content, stream)


def _claim(target: Path, part: Path) -> None:
    """Give the copy its name in the step that finds it free; to rename it there changes nothing."""
    with part.open("rb+") as written:
        os.fsync(written.fileno())
    try:
        os.link(part, target)
    except FileExistsError:
        raise _taken(target) from None
    except OSError as error:
        # Without hard links a file that comes between this look and the renaming is replaced.
        if os.path.lexists(target):
            raise _taken(target) from error


def _taken(target: Path) -> InputError:
    return InputError(
        f"{target} exists; give the backup a new name, or replace the file with --force"
    )


def _check_log(target: Path) -> None:
    log = log_of(target)
    if log is not None:
        raise InputError(
            f"{log} exists and would be applied to the backup; give the backup another name"
        )
