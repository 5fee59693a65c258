"""Processes: which one this is, and whether another one still runs."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from schedsearch.core.stint import process_name

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one with the same number.

    The last three are empty where the system has no /proc.

    Attributes:
        host: Name of the machine.
        pid: Number of the process.
        boot: Of the machine's present run, since it was switched on.
        namespace: Within which `pid` counts; containers on one machine have their own.
        started: Clock ticks from boot to the start of the process.
    """

    host: str
    pid: int
    boot: str = ""
    namespace: str = ""
    started: str = ""

    def __str__(self) -> str:
        return process_name(self.pid, self.host)

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        pid = os.getpid()
        boot = _read(_PROC / "sys/kernel/random/boot_id") or ""
        try:
            namespace = os.readlink(_PROC / "self/ns/pid")
        except OSError:
            namespace = ""
        return cls(socket.gethostname(), pid, boot.strip(), namespace, _start(pid) or "")

    def runs(self) -> bool | None:
        """Say whether the process runs; None where this process cannot know.

        Machines and containers may share a name. Only within one run of one machine, and one
        namespace there, is a number the same process: a holder from before the last boot and one
        on another machine of that name look alike.
        """
        here = Process.current()
        known = (self.host, self.boot, self.namespace)
        if known != (here.host, here.boot, here.namespace) or os.name != "posix":
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # somebody else's, but it exists
        started = _start(self.pid)
        return started is None or started == self.started


def _start(pid: int) -> str | None:
    """Return when `pid` started; "" if it has ended and waits to be collected, None if unknown."""
    stat = _read(_PROC / str(pid) / "stat")
    if stat is None:
        return None
    # The second field is the program's name in parentheses and may hold anything: man 5 proc.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
