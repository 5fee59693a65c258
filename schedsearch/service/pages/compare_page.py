"""Several studies side by side: curves, costs, and what samples said that no search had seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from schedsearch.app.study_view import StudyView
from schedsearch.core.certificate import Certification, Link
from schedsearch.core.trial import Measurement, Trial
from schedsearch.errors import InputError
from schedsearch.service.api.common import InOffice
from schedsearch.service.pages.page import PageRoute, Visitor, render
from schedsearch.service.pages.plots import layers, ratios, steps
from schedsearch.service.problems import ProblemError
from schedsearch.store.failures import DamagedError

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_STYLES = ("cb", "c1", "c3", "c4", "c5")
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "4 2")


@dataclass(frozen=True)
class Compared:
    """A study beside others.

    Attributes:
        view: It.
        style: CSS class of its colour.
        dash: Of its line.
        best: Its result so far; None before there is one.
        proof: What samples said that the search had not seen; None where none were asked.
    """

    view: StudyView
    style: str
    dash: str
    best: Trial | None
    proof: Certification | None

    @property
    def measured(self) -> Measurement | None:
        """What the result costs and loses."""
        return self.best.measurement if self.best else None

    @property
    def path(self) -> str:
        """Curve of the result, in layers and ratios."""
        return steps(self.best.schedule.keep) if self.best else ""

    @property
    def held_out(self) -> Sequence[tuple[str, Link, bool]]:
        """The proven and the found schedule on such samples: name, what they said, whether proven.

        They are one row where the found schedule is proven.
        """
        proof = self.proof
        if proof is None:
            return ()
        rows = [("proven", proof.best, True)] if proof.best else []
        if proof.best is None or proof.best.schedule.keep != proof.found.schedule.keep:
            rows.append(("found", proof.found, False))
        return rows


@router.get("/compare")
def compare_page(
    request: Request,
    office: InOffice,
    who: Visitor,
    study: Annotated[list[str] | None, Query(max_length=50)] = None,
) -> HTMLResponse:
    """Show studies side by side."""
    chosen = list(dict.fromkeys(study or ()))
    if len(chosen) > len(_STYLES):
        raise ProblemError(
            422, f"`study` must name at most {len(_STYLES)} studies, but got {len(chosen)}"
        )
    known = sorted(office.store.studies(), key=lambda one: one.created, reverse=True)
    kinds = zip(chosen, _STYLES, _DASHES, strict=False)
    found = [_compared(office.views.of(name), *kind) for name, *kind in kinds]
    return render(
        request,
        "compare.html",
        who,
        known=known,
        chosen=chosen,
        most=len(_STYLES),
        found=found,
        depth=layers(max((one.view.spec.facts.layers for one in found), default=1)),
        share=ratios("vision tokens kept"),
    )


def _compared(view: StudyView, style: str, dash: str) -> Compared:
    try:
        best = view.best_trial
    except DamagedError:
        raise
    except InputError:
        best = None
    return Compared(view, style, dash, best, view.certification)
