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

    async def looks(self) -> AsyncIterator[Look]:
        """Look after look, each time that something has changed."""
        async with self._listening():
            told: Look | None = None
            while True:
                told = await self._after(told)
                yield told

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _after(self, told: Look | None) -> Look:
        """The latest look, once it is another than this one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._latest not in (None, told))
        assert self._latest is not None
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
