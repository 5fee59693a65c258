"""The heartbeat: what has to be done every few seconds, also while one task takes hours."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from schedsearch.core.interrupts import interruptible
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.terms import heartbeat_seconds

log = logging.getLogger(__name__)


class StopStudy(Exception):  # noqa: N818 - a request, not an error
    """Raised by a callback to end the run without an error; a trial at work waits again."""


_QUIET = (StopStudy, LeaseLostError)
"""What says nothing against the work at hand, and is told by whoever ends the run."""


class Heartbeat:
    """Beats in a thread of its own while there is work.

    Args:
        beat: Called at each beat; what it raises ends the work.
        period: Seconds between beats, also across pieces of work that are shorter; default:
            `heartbeat_seconds()`.
    """

    def __init__(self, beat: Callable[[], None], period: float | None = None) -> None:
        self._beat = beat
        self._period = heartbeat_seconds() if period is None else period
        self._last = time.monotonic()

    def beat_if_due(self) -> None:
        """Beat here, between two pieces of work, if the last beat is a period ago."""
        if time.monotonic() >= self._last + self._period:
            self._last = time.monotonic()
            self._beat()

    @contextmanager
    def at_work(self, whole: bool = False) -> Iterator[None]:
        """Beat while the block runs.

        Args:
            whole: Let the block run to its end whatever a beat raises.

        Raises:
            Exception: A beat has raised it. The block was interrupted where this is the main
                thread and Ctrl-C would have been a `KeyboardInterrupt`, else it ran to its end;
                what it returns then counts where the request was only to stop, or the lease is
                lost: a score is a fact.
        """
        ended, raised = threading.Event(), list[Exception]()
        args = (ended, raised, interruptible() and not whole)
        thread = threading.Thread(target=self._run, args=args, daemon=True)
        try:
            try:
                thread.start()
                yield
            finally:
                ended.set()
                with suppress(RuntimeError):  # Ctrl-C came before it began, and it will not beat
                    thread.join()
        except KeyboardInterrupt:
            if not raised:
                raise
            raise raised[0] from None
        if raised and not isinstance(raised[0], _QUIET):
            raise raised[0]

    def _run(self, ended: threading.Event, raised: list[Exception], interrupts: bool) -> None:
        while not ended.wait(max(0.0, self._last + self._period - time.monotonic())):
            self._last = time.monotonic()
            try:
                self._beat()
            except Exception as error:
                level = logging.INFO if isinstance(error, _QUIET) else logging.ERROR
                log.log(level, "%s; the work at hand ends", error)
                raised.append(error)
                if interrupts:
                    _interrupt()
                return


def _interrupt() -> None:
    """Ctrl-C for the main thread, also where it waits for the system."""
    if os.name == "posix":
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
