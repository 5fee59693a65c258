"""What happens to studies, told to all who listen: one look at the store a second for everybody."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from schedsearch.errors import SchedsearchError
from schedsearch.service.schemas import StudyOut
from schedsearch.service.views import every_study
from schedsearch.store.store import Store

log = logging.getLogger(__name__)

PERIOD = 1.0
SILENCE = 15.0
"""Seconds after which those who listen get a sign that the service still lives."""


@dataclass(frozen=True, eq=False)
class Look:
    """What studies were at some time.

    Attributes:
        studies: By name.
        marks: Change whenever the study does.
    """

    studies: dict[str, StudyOut]
    marks: dict[str, str]


class Watcher:
    """Looks at the store while somebody listens.

    Args:
        store: Has the studies.
        period: Seconds between two looks.
    """

    def __init__(self, store: Store, period: float = PERIOD) -> None:
        self._store = store
        self._period = period
        self._changed = asyncio.Condition()
        self._latest: Look | None = None
        self._looking: asyncio.Task[None] | None = None
        self._listeners = 0
        self._closed = False

    async def looks(self) -> AsyncIterator[Look | None]:
        """Look after look, each time that something has changed; None where nothing has for long.

        They end when the watcher is closed.
        """
        async with self._listening():
            told: Look | None = None
            while True:
                found = await self._after(told)
                if self._closed:
                    return
                yield found
                told = found or told

    async def close(self) -> None:
        """Look no more, and tell those who listen."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _after(self, told: Look | None) -> Look | None:
        """The latest look, once it is another than this one; None where that takes long."""
        try:
            async with asyncio.timeout(SILENCE), self._changed:
                await self._changed.wait_for(
                    lambda: self._closed or self._latest not in (None, told)
                )
        except TimeoutError:
            return None
        return self._latest

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        self._listeners += 1
        if self._looking is None or self._looking.done():
            self._latest = None
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._listeners -= 1

    async def _look(self) -> None:
        while self._listeners:
            try:
                look = await run_in_threadpool(self._read)
            except SchedsearchError as error:
                log.error("%s", error)
            else:
                if self._latest is None or look.marks != self._latest.marks:
                    async with self._changed:
                        self._latest = look
                        self._changed.notify_all()
            await asyncio.sleep(self._period)
        self._looking = None

    def _read(self) -> Look:
        studies = {study.name: study for study in every_study(self._store)}
        return Look(studies, {name: _mark(study) for name, study in studies.items()})


def _mark(study: StudyOut) -> str:
    lasting = study.model_dump_json(exclude={"silence", "lease_seconds_left"})
    return hashlib.sha256(lasting.encode()).hexdigest()[:16]
