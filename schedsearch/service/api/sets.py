"""Calibration sets that people send: uploaded, listed, deleted."""

from collections.abc import Mapping
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from schedsearch.app.unpacking import Kind
from schedsearch.app.uploads import Upload
from schedsearch.service.api.common import InOffice, audit, errors
from schedsearch.service.auth import Launches, Reads
from schedsearch.service.problems import ProblemError, not_found
from schedsearch.service.schemas import SetOut

router = APIRouter(prefix="/sets", tags=["sets"])

_KINDS: Mapping[str, Kind] = {
    "application/x-tar": "tar",
    "application/gzip": "tar.gz",
    "application/zip": "zip",
}
_ARCHIVE: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An archive with one file *.jsonl at its top, and the images it names.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _KINDS},
    }
}
_QUOTA_DECIDES = 1 << 60
_BUFFER = 1 << 20

Name = Annotated[str, Query(min_length=1, max_length=100, description="What people call it.")]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@router.post(
    "",
    status_code=201,
    response_model=SetOut,
    responses={200: {"model": SetOut, "description": "It was here."}, **errors(400, 413, 415)},
    openapi_extra=dict(_ARCHIVE),
    max_body_size=_QUOTA_DECIDES,
    summary="Upload a set",
)
async def upload(request: Request, office: InOffice, who: Launches, name: Name) -> Response:
    """Keep a set, named by its content: what is here already is not kept twice."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = _KINDS.get(media_type)
    if kind is None:
        raise ProblemError(
            415, f"`Content-Type` must be one of {', '.join(_KINDS)}, but got {media_type!r:.80}"
        )
    length = request.headers.get("content-length", "")
    expected = int(length) if length.isascii() and length.isdigit() else 0
    begun = await run_in_threadpool(office.uploads.begin, expected)
    try:
        await _receive(request, begun)
        entry, new = await anyio.to_thread.run_sync(
            begun.keep, kind, name, who.name, limiter=request.app.state.unpacking
        )
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(begun.close)
    if new:
        await run_in_threadpool(
            audit, office, request, who, "upload set", entry.digest, name=name, bytes=entry.bytes
        )
    headers = {"Location": request.url_for("show_set", digest=entry.digest).path}
    return Response(
        SetOut.of(entry).model_dump_json(), 201 if new else 200, headers, "application/json"
    )


@router.get("", responses=errors(), summary="List sets")
def list_sets(office: InOffice, _who: Reads) -> list[SetOut]:
    """Return all uploaded sets, oldest first."""
    return [SetOut.of(entry) for entry in office.uploads.sets()]


@router.get("/{digest}", responses=errors(404), summary="Show a set")
def show_set(office: InOffice, _who: Reads, digest: Digest) -> SetOut:
    """Return an uploaded set."""
    entry = office.uploads.find(digest)
    if entry is None:
        raise not_found(f"uploaded set {digest}")
    return SetOut.of(entry)


@router.delete("/{digest}", status_code=204, responses=errors(404, 409), summary="Delete a set")
def delete_set(request: Request, office: InOffice, who: Launches, digest: Digest) -> None:
    """Delete a set, unless a study that waits or is at work names it."""
    entry = office.uploads.find(digest)
    if entry is None:
        raise not_found(f"uploaded set {digest}")
    office.uploads.remove(digest)
    audit(office, request, who, "delete set", digest, name=entry.name)


async def _receive(request: Request, upload: Upload) -> None:
    """Write what is sent, in pieces that are worth a visit to another thread."""
    gathered = bytearray()
    try:
        async for chunk in request.stream():
            gathered += chunk
            if len(gathered) >= _BUFFER:
                await run_in_threadpool(upload.write, bytes(gathered))
                gathered.clear()
    except ClientDisconnect:
        raise ProblemError(400, "the archive ended before its end") from None
    await run_in_threadpool(upload.write, bytes(gathered))
