"""The heartbeat: what has to be done every few seconds, also while one task takes hours."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schedsearch.store.place import StoreLostError

log = logging.getLogger(__name__)

PERIOD = 5.0
"""Seconds between two beats."""


class Heartbeat:
    """Beats in a thread of its own while there is work.

    Args:
        beat: Called at each beat; may raise `StoreLostError`, which ends the work.
        period: Seconds between beats, also across pieces of work that are shorter; default:
            `PERIOD`.
    """

    def __init__(self, beat: Callable[[], None], period: float | None = None) -> None:
        self._beat = beat
        self._period = PERIOD if period is None else period
        self._last = time.monotonic()
        self._lost: StoreLostError | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Beat while the block runs.

        Raises:
            StoreLostError: A beat has raised it. The block was interrupted where this is the main
                thread and Ctrl-C would have been a `KeyboardInterrupt`, else it ran to its end.
        """
        ended = threading.Event()
        interrupts = _can_interrupt()
        thread = threading.Thread(target=self._run, args=(ended, interrupts), daemon=True)
        try:
            try:
                thread.start()
                yield
            finally:
                ended.set()
                thread.join()
        except KeyboardInterrupt:
            if self._lost is None:
                raise
        if self._lost is not None:
            raise self._lost

    def _run(self, ended: threading.Event, interrupts: bool) -> None:
        while not ended.wait(max(0.0, self._last + self._period - time.monotonic())):
            self._last = time.monotonic()
            try:
                self._beat()
            except StoreLostError as error:
                log.error("%s; the work at hand ends", error)
                self._lost = error
                if interrupts:
                    _interrupt()
                return


def _can_interrupt() -> bool:
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _interrupt() -> None:
    """Ctrl-C for the main thread, also where it waits for the system."""
    if os.name == "posix":
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
