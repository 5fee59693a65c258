"""Waiting for a server that fails: how long, how often it is asked, and what is said of it."""

import logging
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import TypeVar

from schedsearch.store.failures import PassingError, found

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds for which a search waits for a server that fails."""

_PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
_LAST_PAUSE = 5.0


class Patience:
    """How long a server that fails is waited for; counted from its last answer.

    Args:
        seconds: So long. What fails is tried once more in any case.
        before: Called before each further try.
    """

    def __init__(self, seconds: float, before: Callable[[], None]) -> None:
        self._seconds = seconds
        self._before = before
        self._until: float | None = None
        self._told = False

    def outlast(self, attempt: Callable[[], T], waits: bool = True) -> T:
        """Return what an attempt returns, made again as long as it raises `PassingError`.

        The first wait for a server is logged. Ctrl-C ends the waiting, also that of later calls.

        Raises:
            PassingError: That of the last attempt.
        """
        for pause in chain(_PAUSES, repeat(_LAST_PAUSE)):
            try:
                result = attempt()
            except PassingError as error:
                if pause and not waits:
                    raise
                self._wait(error, pause)
                self._before()
            else:
                self._answered()
                return result
        raise AssertionError("the pauses never end")

    def end(self) -> None:
        """Wait no more, until an attempt succeeds."""
        self._until = time.monotonic()

    def _wait(self, error: PassingError, pause: float) -> None:
        if self._until is None:
            self._until = time.monotonic() + self._seconds
        left = self._until - time.monotonic()
        if not pause:
            return
        if left <= 0:
            raise error
        if not self._told:
            self._told = True
            log.warning("%s; waiting for it, for %s at most", found(error), _shown(left))
        try:
            time.sleep(min(pause, left))
        except BaseException:
            self.end()
            raise

    def _answered(self) -> None:
        if self._told:
            log.warning("the server of the store answers again; going on")
        self._until, self._told = None, False


def _shown(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
