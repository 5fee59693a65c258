"""Server-sent events: how searches go on."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from schedsearch.service.api.common import InOffice, errors, shown
from schedsearch.service.auth import Reads
from schedsearch.service.events import Watcher
from schedsearch.service.schemas import TrialOut
from schedsearch.store.pages import Place

router = APIRouter(tags=["events"])


def _existing(office: InOffice, _who: Reads, name: str) -> None:
    """Refuse a study that is not there before the stream begins."""
    shown(office, name)


LastEventId = Annotated[
    str | None, Header(max_length=100, description="Of the last event that was received.")
]


@router.get(
    "/studies/{name}/events",
    response_class=EventSourceResponse,
    responses=errors(404),
    summary="Follow a study",
)
async def follow(
    request: Request,
    office: InOffice,
    _who: Reads,
    _there: Annotated[None, Depends(_existing)],
    name: str,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send `study` whenever the study has changed, and `trial` for each that is closed.

    The first event is the study as it is. Whoever sends the id of the last event that came gets
    the trials that were closed since.
    """
    watcher: Watcher = request.app.state.watcher
    mark, closed = _parsed(last_event_id)
    async for look in watcher.looks():
        study = look.studies.get(name)
        if study is None:
            yield ServerSentEvent(event="deleted", data={"study": name})
            return
        if closed is None:  # of those before nobody has asked
            closed = await run_in_threadpool(_closed, office, name)
        elif study.trials:
            page = await run_in_threadpool(
                office.store.page, name, after=Place(closed, closed), limit=500
            )
            for trial in page.trials:
                if not trial.state.finished:
                    break
                closed = trial.number
                yield ServerSentEvent(event="trial", id=f"{mark}.{closed}", data=TrialOut.of(trial))
        if look.marks[name] != mark:
            mark = look.marks[name]
            yield ServerSentEvent(event="study", id=f"{mark}.{closed}", data=study)


@router.get(
    "/events", response_class=EventSourceResponse, responses=errors(), summary="Follow all studies"
)
async def follow_all(request: Request, _who: Reads) -> AsyncIterator[ServerSentEvent]:
    """Send `study` for each study, and again whenever one has changed."""
    watcher: Watcher = request.app.state.watcher
    marks: dict[str, str] = {}
    async for look in watcher.looks():
        for name, study in look.studies.items():
            if marks.get(name) != look.marks[name]:
                yield ServerSentEvent(event="study", id=look.marks[name], data=study)
        for name in marks.keys() - look.marks.keys():
            yield ServerSentEvent(event="deleted", data={"study": name})
        marks = look.marks


def _closed(office: InOffice, name: str) -> int:
    """Number of the last trial before which all are closed; -1 where there is none."""
    if name not in (one.spec.name for one in office.store.studies()):
        return -1
    last = -1
    for trial in office.store.trials(name):
        if not trial.state.finished:
            break
        last = trial.number
    return last


def _parsed(event: str | None) -> tuple[str, int | None]:
    mark, _, number = (event or "").partition(".")
    known = number.isascii() and number.isdigit() and len(number) < 10
    return mark, int(number) if known else None
