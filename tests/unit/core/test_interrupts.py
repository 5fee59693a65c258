"""Ctrl-C waits where it must, and comes afterwards."""

import signal
import threading

import pytest

from schedsearch.core.interrupts import interruptible, undivided


def test_ctrl_c_waits_until_the_block_has_ended():
    steps = []
    with pytest.raises(KeyboardInterrupt), undivided():
        signal.raise_signal(signal.SIGINT)
        steps.append("after")
    assert steps == ["after"]
    assert interruptible()


def test_the_second_ctrl_c_does_not_wait():
    steps = []
    with pytest.raises(KeyboardInterrupt), undivided():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        steps.append("after")
    assert steps == []
    assert interruptible()


def test_an_error_of_the_block_stays_what_it_is():
    with pytest.raises(ValueError, match="mine"), undivided():
        raise ValueError("mine")
    assert interruptible()


def test_blocks_within_each_other_wait_for_the_outer_one():
    steps = []
    with pytest.raises(KeyboardInterrupt), undivided():
        with undivided():
            signal.raise_signal(signal.SIGINT)
        steps.append("outer")
    assert steps == ["outer"]


def test_other_threads_and_handlers_are_left_alone():
    found = []
    thread = threading.Thread(target=lambda: found.append(_within()))
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found.append(_within())
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == [signal.default_int_handler, signal.SIG_IGN]


def _within():
    with undivided():
        return signal.getsignal(signal.SIGINT)
