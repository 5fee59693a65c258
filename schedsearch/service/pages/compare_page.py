"""Several studies side by side: curves, costs, and what samples said that no search had seen."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from schedsearch.app.report_text import without_folders
from schedsearch.app.side_by_side import Beside, beside, differences, ways
from schedsearch.app.study_plots import Format, curves_figure
from schedsearch.service.api.common import InOffice, shown, summary
from schedsearch.service.pages.page import PageRoute, Visitor, render
from schedsearch.service.pages.plots import layers, ratios, steps
from schedsearch.service.pages.taken import formats, taken
from schedsearch.service.problems import ProblemError
from schedsearch.service.views import every_study

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST = 5
"""Studies that fit side by side."""
_STYLES = ("cb", "c1", "c3", "c4", "c5")
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "4 2")


@dataclass(frozen=True)
class Compared(Beside):
    """A study beside others, as it is drawn.

    Attributes:
        style: CSS class of its colour.
        dash: Of its line.
    """

    style: str
    dash: str

    @property
    def path(self) -> str:
        """Curve of the result, in layers and ratios."""
        return steps(self.best.schedule.keep) if self.best else ""


@router.get("/compare")
def compare_page(
    request: Request,
    office: InOffice,
    who: Visitor,
    study: Annotated[list[str] | None, Query()] = None,
) -> HTMLResponse:
    """Show studies side by side; of too many the form in which they are chosen."""
    chosen = list(dict.fromkeys(study or ()))
    over = len(chosen) > MOST
    known = sorted(every_study(office.store), key=lambda one: one.created, reverse=True)
    drawn = [] if over else chosen
    begun = [name for name in drawn if summary(office, name) is not None]
    waiting = [shown(office, name) for name in drawn if name not in begun]
    kinds = zip(begun, _STYLES, _DASHES, strict=False)
    found = [
        Compared(**vars(beside(office.views.of(name))), style=style, dash=dash)
        for name, style, dash in kinds
    ]
    return render(
        request,
        "compare.html",
        who,
        known=known,
        chosen=chosen,
        most=MOST,
        over=over,
        found=found,
        pictures=formats(request, "compared_curves_file", {"study": begun}),
        waiting=waiting,
        differ=differences(one.view for one in found),
        ways=ways(found),
        brief=without_folders,
        depth=layers(max((one.view.spec.facts.layers for one in found), default=1)),
        share=ratios("vision tokens kept"),
    )


@router.get("/compare/curves.{kind}")
async def compared_curves_file(
    request: Request,
    office: InOffice,
    _who: Visitor,
    kind: Format,
    study: Annotated[list[str] | None, Query(max_length=50)] = None,
) -> Response:
    """The results of studies as curves, to take away."""

    def made() -> bytes:
        found = [beside(office.views.of(name)) for name in _chosen(study)]
        curves = [(one.view.name, one.best.schedule.keep) for one in found if one.best]
        if not curves:
            raise ProblemError(422, "none of these studies has a result yet")
        return curves_figure("Vision tokens kept by layer", curves, kind)

    return await taken(request, "compared.curves", kind, made)


def _chosen(study: list[str] | None) -> list[str]:
    chosen = list(dict.fromkeys(study or ()))
    if len(chosen) > MOST:
        raise ProblemError(422, f"`study` must name at most {MOST} studies, but got {len(chosen)}")
    return chosen
