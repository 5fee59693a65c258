"""All studies: what becomes of them, and the best that each has found."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from schedsearch.service.api.common import InOffice
from schedsearch.service.pages.compare_page import MOST
from schedsearch.service.pages.page import PageRoute, Visitor, path, render
from schedsearch.service.pages.words import asked_for
from schedsearch.service.schemas import State, StudyOut
from schedsearch.service.views import every_study

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Order = Literal["name", "state", "created", "trials", "flops", "drop"]

_LIVELY = ("running", "starting", "queued", "created", "failed", "ended", "idle")
_ORDERS: Mapping[Order, Callable[[StudyOut], Any]] = {
    "name": lambda one: one.name.lower(),
    "state": lambda one: _LIVELY.index(one.state),
    "created": lambda one: one.created,
    "trials": lambda one: sum(one.trials.values()),
    "flops": lambda one: one.progress and one.progress.best_flops_ratio,
    "drop": lambda one: one.progress and one.progress.best_drop,
}


@router.get("/studies")
def studies_page(
    request: Request,
    office: InOffice,
    who: Visitor,
    q: Annotated[str, Query(max_length=200)] = "",
    state: Literal[State, ""] = "",
    sort: Order = "created",
    descending: bool = True,
) -> HTMLResponse:
    """Show studies, those that fit a filter, in some order."""
    every = every_study(office.store)
    searches = {one.study: one.content.get("search", {}) for one in office.store.service.launches()}
    searches |= {one.spec.name: one.spec.search for one in office.store.studies()}
    shown = [
        one
        for one in every
        if state in ("", one.state)
        and all(word in f"{one.name} {one.model}".lower() for word in q.lower().split())
    ]
    shown.sort(key=lambda one: one.name)
    known = [one for one in shown if _ORDERS[sort](one) is not None]
    known.sort(key=_ORDERS[sort], reverse=descending)
    kept = {"q": q, "state": state}

    def link(column: str, downwards: bool) -> str:
        query = {**kept, "sort": column, "descending": str(downwards).lower()}
        return path(request, "studies_page", {key: value for key, value in query.items() if value})

    return render(
        request,
        "studies.html",
        who,
        studies=known + [one for one in shown if _ORDERS[sort](one) is None],
        total=len(every),
        most=MOST,
        asked=lambda name: asked_for(searches.get(name, {})),
        states=get_args(State),
        filters=kept,
        now=(sort, descending),
        link=link,
    )
