"""Where a service begins searches: a backend starts coordinators, which find their study in SQL."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from schedsearch.errors import RunError
from schedsearch.store.launches import Launch
from schedsearch.store.process import Process

LOCAL = "local"


class Backend(Protocol):
    """Begins coordinators, and says whether they live."""

    name: str

    def begin(self, launch: Launch) -> None:
        """Have a coordinator begun for an attempt, which is to claim it.

        Raises:
            RunError: That is not possible now.
        """

    def lives(self, launch: Launch) -> bool | None:
        """Say whether the coordinator that claimed a launch lives; None where that is unknown."""


class LocalBackend:
    """Coordinators are processes on this host, which outlive the one that begins them.

    Args:
        store: Address of the store, passed on by an environment variable.
        folder: Has a folder for each study, with what its coordinator wrote.
    """

    name = LOCAL

    def __init__(self, store: str, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._children: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def begin(self, launch: Launch) -> None:
        """Start a process in a session of its own."""
        place = self._place(launch)
        command = [sys.executable, "-m", "schedsearch.app.launched", launch.study]
        try:
            place.mkdir(parents=True, exist_ok=True)
            with (place / "log").open("ab") as log:
                child = subprocess.Popen(  # noqa: S603 - no part of the command is from the network
                    [*command, str(launch.attempt)],
                    cwd=place,
                    env={**os.environ, "SCHEDSEARCH_STORE": self._store},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise RunError(f"a process for `{launch.study}` cannot be started: {error}") from None
        self._children[launch.study, launch.attempt] = child

    def lives(self, launch: Launch) -> bool | None:
        """Look at the process, where it is on this host."""
        child = self._children.get((launch.study, launch.attempt))
        if child is not None:  # one of ours, which has to be collected
            return child.poll() is None
        return process_of(launch.handle).runs() if launch.handle else None

    def _place(self, launch: Launch) -> Path:
        return self._folder / launch.study


def process_of(handle: Mapping[str, object]) -> Process:
    """The process that has claimed a launch."""
    return Process(
        host=str(handle.get("host", "")),
        pid=int(str(handle.get("pid", 0))),
        boot=str(handle.get("boot", "")),
        namespace=str(handle.get("namespace", "")),
        started=str(handle.get("started", "")),
    )
