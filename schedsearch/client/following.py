"""Events of a study, whatever becomes of connections and of the service meanwhile."""

import logging
import time
from collections.abc import Iterator

import httpx2

from schedsearch.client.connection import Connection
from schedsearch.client.problems import UnreachableError
from schedsearch.client.values import Status, trial_of
from schedsearch.core.trial import Trial
from schedsearch.errors import RunError

log = logging.getLogger(__name__)

_SILENCE = 45.0
"""Seconds without a sign after which a connection is lost; a service gives one every 15."""

_LOOK = 10.0
"""The same where somebody waits for so long only: less than 15, so that signs delay no end."""

_PAUSES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to reach the service again; the last goes on."""


def follow(
    connection: Connection, name: str, path: str, deadline: float | None = None
) -> Iterator[Status | Trial]:
    """What happens to a study: it, whenever it has changed, and each trial that is closed.

    Args:
        connection: To its service.
        name: Of the study.
        path: Of its events.
        deadline: When to end, by `time.monotonic`; None: never.

    Raises:
        InputError: The service refuses.
        RunError: The study was deleted.
    """
    last, failures = "", 0
    while (left := _left(deadline)) > 0:
        silence = _SILENCE if deadline is None else min(_LOOK, left)
        try:
            with connection.events(path, last, silence) as source:
                for event in source:
                    if failures:
                        log.warning("%s: reached again", connection.url)
                    last, failures = event.id or last, 0
                    yield _told(event, name)
                    if _left(deadline) <= 0:
                        return
            reason = "the service has ended the stream of events"
        except UnreachableError as error:
            if deadline is not None and isinstance(error.__cause__, httpx2.ReadTimeout):
                continue
            reason = str(error)
        pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
        if failures == 1:  # the first pause is short, and often enough
            log.warning("%s; the search goes on, and so do attempts to follow it", reason)
        failures += 1
        time.sleep(max(0.0, min(pause, _left(deadline))))


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - time.monotonic()


def _told(event: httpx2.ServerSentEvent, name: str) -> Status | Trial:
    body = event.json()
    assert isinstance(body, dict)
    if event.event == "deleted":
        raise RunError(f"study `{name}` was deleted; create it again to search it")
    return trial_of(body) if event.event == "trial" else Status.of(body)
