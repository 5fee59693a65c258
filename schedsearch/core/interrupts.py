"""Ctrl-C, where a moment is wrong for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def interruptible() -> bool:
    """Whether Ctrl-C would raise `KeyboardInterrupt` here."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def undivided() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended; the second one does not wait.

    Raises:
        KeyboardInterrupt: It came meanwhile, or twice.
    """
    if not interruptible():
        yield
        return
    waiting = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal waiting
        if waiting:
            signal.default_int_handler(number, frame)
        waiting = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if waiting:
            raise KeyboardInterrupt
