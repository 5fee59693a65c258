"""One study: where it stands, what was found, how, and what can be done with it."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import yaml
from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from schedsearch.app.points import keeps, limits, points
from schedsearch.app.recorded import Recorded
from schedsearch.app.report import report_page, trials_csv
from schedsearch.app.report_search import goal
from schedsearch.app.report_text import without_folders
from schedsearch.app.slices import slices
from schedsearch.app.study_plots import Figure, Format, study_figure
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import TrialState
from schedsearch.errors import InputError
from schedsearch.service.api.common import (
    Cursor,
    InOffice,
    Office,
    from_cursor,
    summary,
    to_cursor,
)
from schedsearch.service.api.searches import start_search, wish_for
from schedsearch.service.pages.findings import findings
from schedsearch.service.pages.page import PageRoute, Submits, Visitor, path, render
from schedsearch.service.pages.plots import axis, between
from schedsearch.service.pages.taken import formats, taken
from schedsearch.service.pages.words import asked_for
from schedsearch.service.problems import not_found
from schedsearch.service.schemas import StudyOut
from schedsearch.store.pages import Order, Page, Place, Wanted

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 25
_SHOWN = tuple(one for one in TrialState if one not in (TrialState.PRUNED, TrialState.FAIL))

Sort = Annotated[Order, Query()]


@router.get("/studies/{name}")
def study_page(
    request: Request,
    office: InOffice,
    who: Visitor,
    name: str,
    whole: bool = False,
    sort: Sort = "number",
    descending: bool = True,
    hide: bool = False,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show a study; what takes long to find out comes when the page asks for it again, `whole`."""
    launch, found = office.store.service.launch(name), summary(office, name)
    if launch is None and found is None:
        raise not_found(f"study `{name}`")
    study = StudyOut.of(name, launch, found)
    context: dict[str, Any] = {"study": study, "launch": launch, "found": None, "page": None}
    if found is not None:
        query = {"sort": sort, "descending": descending, "hide": hide}
        context |= _table(request, office, name, query, cursor)
        context["comparison"] = office.store.comparison(name)
        if whole or office.views.at_hand(found):
            view = office.views.of(name)
            context |= {"found": findings(view), "goal": goal(view)}
    written: Mapping[str, Any] = launch.content if launch else _written(found.spec) if found else {}
    return render(
        request,
        "study.html",
        who,
        spec=yaml.safe_dump(dict(written), sort_keys=False, allow_unicode=True),
        asked=asked_for(found.spec.search if found else written.get("search", {})).split(", "),
        proves=_proves(written),
        trial=lambda number: _trial(request, name, number),
        family=found and "family" in found.spec.search,
        depth=found.spec.facts.layers if found else 0,
        brief=without_folders,
        pictures=_pictures(request, name),
        **context,
    )


def _proves(written: Mapping[str, Any]) -> bool:
    """Whether a study file names what a certificate is proven on."""
    data = written.get("data", {})
    return bool(data.get("certify") or (data.get("shares") or {}).get("certify"))


def _pictures(request: Request, name: str) -> Callable[[Figure], list[tuple[str, str]]]:
    return lambda figure: formats(request, "study_figure_file", name=name, figure=figure)


def _trial(request: Request, name: str, number: int) -> str:
    return path(request, "trial_page", name=name, number=number)


def _table(
    request: Request, office: Office, name: str, query: Mapping[str, Any], cursor: str | None
) -> dict[str, Any]:
    """A page of trials, and links to other orders and pages."""
    wanted = Wanted(
        states=_SHOWN if query["hide"] else (),
        order=query["sort"],
        descending=query["descending"],
    )
    after = None
    if cursor is not None:
        after = Place(*from_cursor(cursor, (float | int | None, int)))
    page: Page = office.store.page(name, wanted, after, _ROWS)

    def link(column: str, downwards: bool) -> str:
        asked = {"sort": column, "descending": downwards, "hide": query["hide"]}
        return _trials_at(request, name, asked)

    following = None
    if page.following:
        following = _trials_at(request, name, {**query, "cursor": to_cursor([*page.following])})
    return {
        "page": page,
        "now": (query["sort"], query["descending"]),
        "hide": query["hide"],
        "link": link,
        "first": _trials_at(request, name, query) if cursor else None,
        "following": following,
    }


def _trials_at(request: Request, name: str, query: Mapping[str, Any]) -> str:
    plain = {
        key: str(value).lower() if value in (True, False) else value for key, value in query.items()
    }
    return path(request, "study_page", plain, name=name) + "#trials"


def _written(spec: StudySpec) -> dict[str, Any]:
    """What is known of a study whose file is not."""
    plain = spec.plain()
    names = (
        "name",
        "model",
        "revision",
        "calibration",
        "metric",
        "ranker",
        "rankers",
        "search",
        "seed",
    )
    return {name: plain[name] for name in names if plain.get(name) is not None}


@router.post("/studies/{name}/{wish}")
def change_study(
    request: Request,
    office: InOffice,
    who: Submits,
    name: str,
    wish: Literal["start", "pause", "stop"],
) -> Response:
    """Start, pause or stop a search."""
    if wish == "start":
        start_search(office, request, who, name)
    else:
        wish_for(request, office, who, name, wish)
    return RedirectResponse(path(request, "study_page", name=name), 303)


@router.get("/studies/{name}/model")
async def study_model(request: Request, office: InOffice, who: Visitor, name: str) -> HTMLResponse:
    """What the model of a search knows, as a part of its page: that takes seconds."""

    def made() -> HTMLResponse:
        found = slices(office.views.of(name))
        drops = [drop for one in found for _, _, drop in one.measured]
        drops += [edge for one in found for each in one.expected for edge in (each.drop, each.low)]
        return render(
            request,
            "model.html",
            who,
            slices=[(one, between(one.parameter)) for one in found],
            down=axis("drop", drops),
            pictures=_pictures(request, name),
            trial=lambda number: _trial(request, name, number),
        )

    return await to_thread.run_sync(made, limiter=request.app.state.thinking)


@router.get("/studies/{name}/points")
def study_points(office: InOffice, _who: Visitor, name: str) -> Response:
    """Cost and drop of all trials, as bytes."""
    view = office.views.of(name)
    try:
        best = view.best_trial
    except InputError:
        best = None
    made = points(view.trials, limits(view), best, view.costs)
    return Response(made, media_type="application/octet-stream")


@router.get("/studies/{name}/keeps")
def study_keeps(office: InOffice, _who: Visitor, name: str) -> Response:
    """Keep ratios of all trials, as bytes."""
    return Response(keeps(office.views.of(name).trials), media_type="application/octet-stream")


@router.get("/studies/{name}/trials.csv")
async def study_csv(request: Request, office: InOffice, _who: Visitor, name: str) -> Response:
    """All trials as a table."""

    def made() -> bytes:
        return trials_csv(office.views.of(name)).encode()

    return await taken(request, f"{name}.trials", "csv", made)


@router.get("/studies/{name}/report.html")
async def study_report(request: Request, office: InOffice, _who: Visitor, name: str) -> Response:
    """What is known of a study as one file, with its pictures and samples."""

    def made() -> bytes:
        return report_page(Recorded(office.store, name).snapshot())

    return await taken(request, f"{name}.report", "html", made)


@router.get("/studies/{name}/figures/{figure}.{kind}")
async def study_figure_file(
    request: Request, office: InOffice, _who: Visitor, name: str, figure: Figure, kind: Format
) -> Response:
    """A picture to take away."""

    def made() -> bytes:
        return study_figure(office.views.of(name), figure, kind)

    return await taken(request, f"{name}.{figure}", kind, made)
