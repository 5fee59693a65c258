"""What a database driver's errors mean to the caller, and what to do about them."""

from typing import Any

from schedsearch.errors import InputError, RunError


class DamagedError(InputError):
    """A store holds something that cannot be read."""


class PassingError(RunError):
    """A server cannot do something now, and may be able to later."""


class DamagedCell(Exception):  # noqa: N818 - never leaves the store: see `Database.errors`
    """What a cell of a table holds is not what was written there; the message says what it is."""


_MEANINGS: dict[str, tuple[type[InputError | RunError], str]] = {
    "full": (
        PassingError,
        "no space is left for {name} ({said}); what was stored before is safe: free space on its "
        "disk and run again to continue",
    ),
    "busy": (
        PassingError,
        "{name} stayed locked by another process ({said}); what was stored before is safe: wait "
        "for that process and run again",
    ),
    "failed": (
        RunError,
        "{name} failed ({said}); what was stored before is safe: see that its disk works and has "
        "room, or that its server answers, and run again to continue",
    ),
    "lost": (
        PassingError,
        "the connection to {name} was lost ({said}); what was stored before is safe: see that its "
        "server answers, and run again to continue",
    ),
    "crowded": (
        PassingError,
        "the server of {name} takes no more connections ({said}); what was stored before is safe: "
        "wait until others have ended, and run again",
    ),
    "slow": (
        PassingError,
        "the server of {name} gave up a statement ({said}); what was stored before is safe: wait "
        "until it has less to do, or give it more time, and run again to continue",
    ),
    "standby": (
        PassingError,
        "the server of {name} takes no changes now ({said}); what was stored before is safe: wait "
        "until it does, or give the address of the server that does, and run again to continue",
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
    "unreachable": (
        InputError,
        "{name} cannot be reached ({said}); see that its server answers, and check host, port, "
        "database, user, password and options of the address",
    ),
    "foreign": (InputError, "{name} is not an SQLite database; give the path of a store"),
    "damaged": (
        DamagedError,
        "{name} is damaged ({said}); `schedsearch db check` names what cannot be read: go back to "
        "a backup of it",
    ),
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
    "ERROR": "damaged",  # our statements fit our tables
    "MISMATCH": "damaged",
    "TOOBIG": "damaged",
    "NOMEM": "damaged",  # a length that no cell has
}
_POSTGRESQL = {  # by SQLSTATE; https://www.postgresql.org/docs/current/errcodes-appendix.html
    "53100": "full",
    "53300": "crowded",
    "57014": "slow",
    "40001": "busy",
    "40P01": "busy",
    "55P03": "busy",
    "25006": "standby",
    "42501": "read-only",
    "28000": "closed",
    "28P01": "closed",
    "3D000": "closed",
    "25P03": "lost",
    "25P04": "lost",
    "57P01": "lost",
    "57P02": "lost",
    "57P03": "lost",
    "57P04": "lost",
    "57P05": "lost",
    "42P01": "damaged",
    "42703": "damaged",
}


def meaning(error: Any, name: str, operational: bool) -> InputError | RunError | None:
    """Return our error for what a driver raised; None for a defect of ours.

    Args:
        error: The driver's own exception.
        name: What messages call the database.
        operational: Whether the database or the connection is to blame, not the statement.
    """
    primary = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
    state = getattr(error, "sqlstate", None) or ""
    kind = _SQLITE.get(primary) or _POSTGRESQL.get(state)
    if kind is None and state.startswith("08"):
        kind = "lost"
    if kind is None and operational and hasattr(error, "sqlstate") and not state:
        kind = "lost"  # the server had no part in it
    if kind is None and str(error).startswith("Could not decode to UTF-8"):
        kind = "damaged"  # the driver's own finding: it has no code
    if kind is None and not operational:
        return None
    return described(kind or "failed", name, error)


def described(kind: str, name: str, error: object) -> InputError | RunError:
    """Return our error of a kind, in one line."""
    category, sentence = _MEANINGS[kind]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return category(sentence.format(name=name, said=lines[0]))


def found(error: PassingError) -> str:
    """Return what an error has found, without the remedy."""
    return str(error).partition("; what was stored before")[0]
