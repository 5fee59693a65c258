"""What people take away from pages: pictures, tables, reports."""

import re
from collections.abc import Callable, Mapping
from typing import get_args

from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response

from schedsearch.app.study_plots import Format
from schedsearch.service.pages.page import path

_KINDS: Mapping[str, str] = {
    "csv": "text/csv",
    "html": "text/html",
    "png": "image/png",
    "svg": "image/svg+xml",
}


def formats(
    request: Request, name: str, /, query: object = None, **parts: object
) -> list[tuple[str, str]]:
    """Words and path of each format of a picture, whose route takes it as `kind`."""
    kinds = get_args(Format)
    return [(kind.upper(), path(request, name, query, kind=kind, **parts)) for kind in kinds]


async def taken(request: Request, name: str, kind: str, make: Callable[[], bytes]) -> Response:
    """A file to save.

    Args:
        request: What asks for it.
        name: Of the file, in any letters.
        kind: Its ending.
        make: Its content; called in a thread, where no other file is made meanwhile.
    """
    made = await to_thread.run_sync(make, limiter=request.app.state.drawing)
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    named = {"Content-Disposition": f'attachment; filename="{plain}.{kind}"'}
    return Response(made, media_type=_KINDS[kind], headers=named)
