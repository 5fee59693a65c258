"""The terms of a lease: who holds it, how often that gives a sign, and how long a sign is good for.

Both times are settings of a process, in its environment. How long a sign is good for stands beside
the holder's name, so whoever looks judges a lease by what its holder was promised.
"""

import math
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from schedsearch.errors import InputError
from schedsearch.store.process import Process

HEARTBEAT = "SCHEDSEARCH_HEARTBEAT_SECONDS"
LEASE = "SCHEDSEARCH_LEASE_SECONDS"
HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0


def heartbeat_seconds() -> float:
    """Return the seconds between two signs of a holder.

    Raises:
        InputError: The setting is none.
    """
    return _seconds(HEARTBEAT, HEARTBEAT_SECONDS)


def lease_seconds() -> float:
    """Return for how many seconds a lease is valid after each sign of its holder.

    Raises:
        InputError: The setting is none, or one sign that comes late would lose the lease.
    """
    seconds, beat = _seconds(LEASE, LEASE_SECONDS), heartbeat_seconds()
    if seconds < 2 * beat:
        raise InputError(
            f"{LEASE} must be at least twice {HEARTBEAT}, but got {seconds:g} and {beat:g}; "
            f"give a longer lease or a faster heartbeat"
        )
    return seconds


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        process: Who.
        seconds: For how long the lease is valid after each sign.
    """

    process: Process
    seconds: float

    @classmethod
    def current(cls) -> Self:
        """Return this process, on the terms of its settings."""
        return cls(Process.current(), lease_seconds())

    def left(self, sign: datetime, now: datetime) -> float:
        """Return for how many seconds the lease is valid if no other sign follows; 0 if it is not.

        It ends with a process that is seen to have ended. A sign that lies further ahead than a
        lease lasts was dated by a clock that has been set back since, and says nothing.

        Args:
            sign: When the holder gave the last one.
            now: By the same clock.
        """
        age = (now - sign).total_seconds()
        if abs(age) >= self.seconds or self.process.runs() is False:
            return 0.0
        return self.seconds - age


def _seconds(name: str, default: float) -> float:
    said = os.environ.get(name)
    if not said:
        return default
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"{name} must be seconds above 0, but got {said!r}; correct or unset it")
    return seconds
