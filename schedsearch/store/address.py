"""Where a store is: the path of a file, or the URL of a server's database."""

import os
import stat
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from schedsearch.core.partials import is_partial
from schedsearch.errors import InputError

FORMS = "a path such as runs.db, or postgresql://user:password@host/database"
_SHOWN = ("host", "port", "user", "dbname")
_HARMLESS = (
    *_SHOWN,
    "application_name",
    "connect_timeout",
    "hostaddr",
    "passfile",
    "service",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
)
"""Of the query of a URL: names whose values anyone may read; paths among them are no secrets."""


def url_of(target: str | os.PathLike[str]) -> URL:
    """Return the URL of a store given as one, or as the path of an SQLite file.

    Raises:
        InputError: It is neither, or a database that cannot be a store.
    """
    text = os.fspath(target)
    if "://" not in text:
        if text in ("", ":memory:") or "\0" in text:
            raise InputError(f"a store must outlast the process, but got {text!r}; give {FORMS}")
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InputError(f"the address of the store cannot be read; give {FORMS}") from error
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InputError(
            f"the store must be SQLite or PostgreSQL, but got {backend}://...; give {FORMS}"
        )
    if backend == "sqlite" and (url.query or url.database in (None, "", ":memory:")):
        raise InputError(
            f"an SQLite store must be a plain file, but got {_shown(url)}; give its path: runs.db"
        )
    return url


def file_of(url: URL) -> Path | None:
    """Return the path of an SQLite store; None for a server's."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def name_of(url: URL) -> str:
    """Return what messages call a store: its path, or its URL with nothing that may be secret."""
    return str(file_of(url) or _shown(url))


def holds_secret(url: URL) -> bool:
    """Say whether the URL may have a password in it, or what else is not for others to read."""
    return url.password is not None or any(name not in _HARMLESS for name in url.normalized_query)


def is_there(file: Path) -> bool:
    """Say whether an SQLite store's path has a file, which may be empty.

    Raises:
        InputError: It has, or leads to, what can be no store.
    """
    if is_partial(file):
        raise InputError(f"{file} is what an interrupted backup has left; delete it")
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        if file.is_symlink():
            raise InputError(
                f"{file} is a link to {os.readlink(file)}, which does not exist; correct the link "
                f"or give another path"
            ) from None
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file} cannot be a store ({reason}); give another path") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"the store must be a file, but {file} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"the store must be a file, but {file} is a pipe or device; name a file")
    return True


def check_folder(file: Path) -> None:
    """See that a store's file has a folder that it can be made in.

    Raises:
        InputError: The folder does not exist or is none.
    """
    if os.path.isdir(file.parent):
        return
    if os.path.lexists(file.parent):
        raise InputError(f"{file.parent} is no folder, so {file} cannot be made; give another path")
    raise InputError(f"the folder of {file} does not exist; create {file.parent} first")


def check_writable(file: Path) -> None:
    """See that a store that is there may be written; else SQLite would leave its log beside it.

    Raises:
        InputError: It may not.
    """
    real = file.resolve()
    at_work = os.path.exists(f"{real}-wal")  # and no other file has to be made
    for place in (file,) if at_work else (file, real.parent):
        if not writable(place):
            raise InputError(
                f"{file} cannot be written (no right to write to {place}), and what a search or a "
                f"report evaluates is stored there; get that right, or go on with a copy that "
                f"`schedsearch db backup` makes"
            )


def writable(path: Path) -> bool:
    """Say whether this process may write to a file or folder that exists."""
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.W_OK, effective_ids=effective)


def _shown(url: URL) -> str:
    """The URL; a password may also stand in the query, whose names depend on the driver."""
    shown = [
        f"{name}={','.join(values) if name in _SHOWN else '***'}"
        for name, values in url.normalized_query.items()
    ]
    plain = url.set(query={}).render_as_string(hide_password=True)
    return "?".join([plain, *(["&".join(shown)] if shown else [])])
