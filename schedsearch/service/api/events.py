"""Server-sent events: how searches go on."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from schedsearch.service.api.common import InOffice, Office, errors, shown, summary
from schedsearch.service.auth import Reads
from schedsearch.service.events import Watcher
from schedsearch.service.routes import NamedRoute
from schedsearch.service.schemas import TrialOut
from schedsearch.store.pages import Place

router = APIRouter(tags=["events"], route_class=NamedRoute)


def _existing(office: InOffice, _who: Reads, name: str) -> None:
    """Refuse a study that is not there before the stream begins."""
    shown(office, name)


LastEventId = Annotated[
    str | None, Header(max_length=100, description="Of the last event that was received.")
]


_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["study", "trial", "deleted"]},
        "data": {"type": "string", "description": "JSON: of a study, of a trial, or its name."},
        "id": {"type": "string"},
    },
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events, for as long as somebody listens.",
        "content": {"text/event-stream": {"itemSchema": _EVENT}},
    }
}


@router.get(
    "/studies/{name}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **errors(404)},
    summary="Follow a study",
)
async def follow(
    request: Request,
    office: InOffice,
    _who: Reads,
    _there: Annotated[None, Depends(_existing)],
    name: str,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Send `study` whenever the study has changed, and `trial` for each that is closed.

    The first event is the study as it is. Whoever sends the id of the last event that came gets
    the trials that were closed since.
    """
    return _streamed(_followed(request.app.state.watcher, office, name, last_event_id))


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **errors()},
    summary="Follow all studies",
)
async def follow_all(request: Request, _who: Reads) -> StreamingResponse:
    """Send `study` for each study, and again whenever one has changed."""
    return _streamed(_all_followed(request.app.state.watcher))


async def _followed(
    watcher: Watcher, office: Office, name: str, last_event_id: str | None
) -> AsyncIterator[bytes]:
    mark, closed = _parsed(last_event_id)
    async for look in watcher.looks():
        if look is None:
            yield KEEPALIVE_COMMENT
            continue
        study = look.studies.get(name)
        if study is None:
            if await run_in_threadpool(_is_there, office, name):
                continue  # the study is younger than this look
            yield _event("deleted", {"study": name})
            return
        if closed is None:  # of those before nobody has asked
            closed = await run_in_threadpool(office.store.closed, name) if study.trials else -1
        elif study.trials:
            page = await run_in_threadpool(
                office.store.page, name, after=Place(closed, closed), limit=500
            )
            for trial in page.trials:
                if not trial.state.finished:
                    break
                closed = trial.number
                yield _event("trial", TrialOut.of(trial), f"{mark}.{closed}")
        if look.marks[name] != mark:
            mark = look.marks[name]
            yield _event("study", study, f"{mark}.{closed}")


def _is_there(office: Office, name: str) -> bool:
    return office.store.service.launch(name) is not None or summary(office, name) is not None


async def _all_followed(watcher: Watcher) -> AsyncIterator[bytes]:
    marks: Mapping[str, str] = {}
    async for look in watcher.looks():
        if look is None:
            yield KEEPALIVE_COMMENT
            continue
        for name, study in look.studies.items():
            if marks.get(name) != look.marks[name]:
                yield _event("study", study, look.marks[name])
        for name in marks.keys() - look.marks.keys():
            yield _event("deleted", {"study": name})
        marks = look.marks


def _streamed(events: AsyncIterator[bytes]) -> StreamingResponse:
    """A stream. Of generators the framework makes one that breaks down when a listener leaves."""

    async def paused() -> AsyncIterator[bytes]:
        async for event in events:
            yield event
            await asyncio.sleep(0)  # so that it is noticed when nobody listens any more

    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(paused(), headers=headers, media_type="text/event-stream")


def _event(kind: str, data: BaseModel | Mapping[str, str], mark: str | None = None) -> bytes:
    text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
    return format_sse_event(event=kind, data_str=text, id=mark)


def _parsed(event: str | None) -> tuple[str, int | None]:
    mark, _, number = (event or "").partition(".")
    known = number.isascii() and number.isdigit() and len(number) < 10
    return mark, int(number) if known else None
