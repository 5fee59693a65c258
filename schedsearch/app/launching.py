"""Studies that are asked for from afar: created, queued, begun where there is room, tended."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schedsearch.app.backends import Backend
from schedsearch.app.config import StudyConfig, check_study
from schedsearch.app.permitted import Permitted
from schedsearch.errors import RunError, SchedsearchError
from schedsearch.store.launches import Launch
from schedsearch.store.store import Store

log = logging.getLogger(__name__)

GONE = "its process has ended without a word; its log may say why"


@dataclass(frozen=True)
class Launching:
    """What a service does for studies.

    Attributes:
        store: Has studies and launches.
        backend: Begins coordinators.
        permitted: What a study may name.
        uploaded: From the digest of an uploaded set to its file.
        most: Searches that may run at once.
    """

    store: Store
    backend: Backend
    permitted: Permitted
    uploaded: Callable[[str], Path]
    most: int = 1

    def validated(self, config: StudyConfig) -> dict[str, Any]:
        """What would be kept of a study file.

        Raises:
            InputError: It cannot be used.
        """
        content = self.permitted.applied(config, self.uploaded)
        check_study(content, config.study)
        return content

    def create(self, config: StudyConfig, who: str) -> Launch:
        """Keep a study file, to be searched later.

        Raises:
            InputError: It cannot be used, or there is a study of this name.
        """
        content = self.validated(config)
        return self.store.service.add_launch(config.study, content, who, self.backend.name)

    def clone(self, study: str, name: str, changes: Mapping[str, Any], who: str) -> Launch:
        """Keep the content of another study under a new name, with changes.

        Args:
            study: The other one.
            name: The new name.
            changes: Keys of a study file; mappings are merged, null removes a key.
            who: Whoever asks.

        Raises:
            InputError: As `create`.
        """
        known = self.store.service.launch(study)
        if known is None:
            raise RunError(f"study `{study}` was not created through the service; send its file")
        content = merged({**known.content, "study": name}, changes)
        return self.create(check_study(content, name), who)

    def tend(self) -> None:
        """Begin what waits, where there is room, and see what has become of the others.

        Where there is nothing to do nothing is written: a search writes to the same store.
        """
        service = self.store.service
        launches = service.launches()
        for launch in launches:
            if launch.state == "STARTED" and self.backend.lives(launch) is False:
                log.warning("%s: %s", launch.study, GONE)
                service.end_launch(launch.study, launch.attempt, "failed", GONE)
        started = [one for one in launches if one.state == "STARTED"]
        unclaimed = any(one.handle is None for one in started)
        lost = service.requeue_unclaimed() if unclaimed else 0
        room = len(started) - lost < self.most
        waits = lost > 0 or any(one.state == "QUEUED" for one in launches)
        while room and waits and (taken := service.take(self.most)) is not None:
            try:
                self.backend.begin(taken)
            except SchedsearchError as error:
                service.end_launch(taken.study, taken.attempt, "failed", str(error))


class Caretaker:
    """Tends launches in a thread of its own.

    Args:
        launching: What is done.
        period: Seconds between two looks.
    """

    def __init__(self, launching: Launching, period: float = 1.0) -> None:
        self._launching = launching
        self._period = period
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="launches", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once."""
        self._woken.set()

    def close(self) -> None:
        """End; searches go on."""
        self._ended.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._launching.tend()
            except SchedsearchError as error:  # of the store, which may come back
                log.error("%s", error)
            except Exception:
                log.exception("a defect; launches are looked at again")
            self._woken.wait(self._period)
            self._woken.clear()


def merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with changes: mappings are merged, None removes a key (RFC 7396)."""
    found = dict(content)
    for key, value in changes.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping):
            former = found.get(key)
            found[key] = merged(former if isinstance(former, Mapping) else {}, value)
        else:
            found[key] = value
    return found
