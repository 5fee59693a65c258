"""What a database driver's errors mean to the caller, and what to do about them."""

from typing import Any

from schedsearch.errors import InputError, RunError

_MEANINGS: dict[str, tuple[type[InputError | RunError], str]] = {
    "full": (
        RunError,
        "no space is left for {name} ({said}); what was stored before is safe: free space on its "
        "disk and run again to continue",
    ),
    "busy": (
        RunError,
        "{name} stayed locked by another process ({said}); what was stored before is safe: wait "
        "for that process and run again",
    ),
    "failed": (
        RunError,
        "{name} failed ({said}); what was stored before is safe: see that its disk works and has "
        "room, or that its server answers, and run again to continue",
    ),
    "read-only": (
        InputError,
        "{name} cannot be written ({said}); give the right to write to it, or name another store",
    ),
    "closed": (
        InputError,
        "{name} cannot be opened ({said}); a file must be readable and its folder writable, a "
        "server needs its right database, user and password",
    ),
    "foreign": (InputError, "{name} is not an SQLite database; give the path of a store"),
    "damaged": (InputError, "{name} is damaged ({said}); go back to a backup of it"),
}
_SQLITE = {  # by primary result code; https://www.sqlite.org/rescode.html
    "FULL": "full",
    "BUSY": "busy",
    "LOCKED": "busy",
    "READONLY": "read-only",
    "PERM": "read-only",
    "CANTOPEN": "closed",
    "NOTADB": "foreign",
    "CORRUPT": "damaged",
}
_POSTGRESQL = {  # by SQLSTATE; https://www.postgresql.org/docs/current/errcodes-appendix.html
    "53100": "full",
    "42501": "read-only",
    "25006": "read-only",
    "28000": "closed",
    "28P01": "closed",
    "3D000": "closed",
}


def meaning(error: Any, name: str, operational: bool) -> InputError | RunError | None:
    """Return our error for what a driver raised; None for a defect of ours.

    Args:
        error: The driver's own exception.
        name: What messages call the database.
        operational: Whether the driver blames the database, not the statement.
    """
    primary = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
    kind = _SQLITE.get(primary) or _POSTGRESQL.get(getattr(error, "sqlstate", None) or "")
    if kind is None and not operational:
        return None
    category, sentence = _MEANINGS[kind or "failed"]
    return category(sentence.format(name=name, said=str(error).strip().partition("\n")[0]))
