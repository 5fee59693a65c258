"""One trial: its curve and cost, the answers that it changes, and the tokens that layers kept."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from schedsearch.app.study_plots import Format, curves_figure
from schedsearch.core.exhibit import Exhibit
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.service.api.common import InOffice, Office
from schedsearch.service.api.exhibits import ExhibitOut
from schedsearch.service.api.trials import Number, answers_of, find_trial
from schedsearch.service.pages.page import PageRoute, Visitor, path, render
from schedsearch.service.pages.plots import layers, ratios, steps
from schedsearch.service.pages.taken import formats, taken
from schedsearch.service.schemas import AnswerOut

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MOST, _ROWS = 2000, 50
"""Samples whose scores are compared, and those of them that are listed."""


@dataclass(frozen=True)
class Changes:
    """Samples under the schedule beside the full model.

    Attributes:
        known: Samples with both scores.
        more: Whether there are more than were compared.
        lost: Samples that score less.
        gained: Samples that score more.
        reworded: Samples that score the same with another answer.
        rows: Those that change most.
    """

    known: int
    more: bool
    lost: int
    gained: int
    reworded: int
    rows: Sequence[AnswerOut]


@router.get("/studies/{name}/trials/{number}")
def trial_page(
    request: Request, office: InOffice, who: Visitor, name: str, number: Number
) -> HTMLResponse:
    """Show a trial."""
    trial = find_trial(office, name, number)
    best, exhibits = _best(office, name), office.store.exhibits(name, number)
    named = {one.sample: one for one in exhibits}
    facts, keep = office.store.spec(name).facts, trial.schedule.keep
    n_max = max(facts.n_visions)
    changes = changes_of(office, name, trial, named)
    seen = office.pictures.keys(name) if changes.rows else frozenset()
    beside = None if best is None or best.number == number else best
    return render(
        request,
        "trial.html",
        who,
        study=name,
        trial=trial,
        metric=office.store.spec(name).metric,
        attempts=office.store.attempts(name, number),
        is_best=best is not None and best.number == number,
        best=beside,
        depth=len(keep),
        x=layers(len(keep)),
        y=ratios("keep ratio"),
        curve=steps(keep),
        pictures=formats(request, "trial_curve_file", name=name, number=number),
        best_curve=steps(beside.schedule.keep) if beside else "",
        counts=trial.schedule.counts(n_max),
        n_max=n_max,
        changes=changes,
        looks=_looks(request, name, number, changes, named, seen or ()),
        unread=seen is None,
        exhibits=exhibits,
        first=_first_told(exhibits),
        named=named,
        kept={one.sample: " ".join(ExhibitOut.of(one).kept) for one in exhibits},
    )


@router.get("/studies/{name}/trials/{number}/curve.{kind}")
async def trial_curve_file(
    request: Request, office: InOffice, _who: Visitor, name: str, number: Number, kind: Format
) -> Response:
    """The curve of a trial beside that of the best, to take away."""

    def made() -> bytes:
        trial, best = find_trial(office, name, number), _best(office, name)
        curves = [(f"trial {number}", trial.schedule.keep)]
        if best is not None and best.number != number:
            curves.append((f"trial {best.number}, the best", best.schedule.keep))
        return curves_figure(name, curves, kind)

    return await taken(request, f"{name}.{number}.curve", kind, made)


def changes_of(office: Office, name: str, trial: Trial, named: Container[str]) -> Changes:
    """Which samples score otherwise than under the full model, those that lose most first.

    Args:
        office: Has the store.
        name: Of the study.
        trial: Under whose schedule.
        named: Samples that have a name; these go before others.
    """
    found = answers_of(office, name, trial.schedule, "", _MOST + 1)
    both = [one for one in found[:_MOST] if one.full_score is not None]
    drops = [(one, (one.full_score or 0.0) - one.score) for one in both]
    reworded = [one for one, drop in drops if not drop and one.prediction != one.full_prediction]
    changed = sorted(
        (one for one in drops if one[1]), key=lambda pair: (-pair[1], pair[0].sample not in named)
    )
    return Changes(
        known=len(both),
        more=len(found) > _MOST,
        lost=sum(drop > 0 for _, drop in drops),
        gained=sum(drop < 0 for _, drop in drops),
        reworded=len(reworded),
        rows=[*(one for one, _ in changed), *reworded][:_ROWS],
    )


def _looks(
    request: Request,
    name: str,
    number: int,
    changes: Changes,
    named: Container[str],
    seen: Container[str],
) -> dict[str, str]:
    """Where the pictures of changed samples are: exhibits, and others that may be opened."""
    found = {}
    for one in changes.rows:
        route = "exhibit_picture" if one.sample in named else "answer_picture"
        if one.sample in named or one.sample in seen:
            found[one.sample] = path(request, route, name=name, number=number, sample=one.sample)
    return found


def _best(office: Office, name: str) -> Trial | None:
    try:
        return office.views.of(name).best_trial
    except InputError:
        return None


def _first_told(exhibits: Sequence[Exhibit]) -> int:
    """The layer that is shown at first: the deepest that has any tokens left."""
    if not exhibits:
        return 0
    counts = exhibits[0].counts
    return max((layer for layer, count in enumerate(counts) if count), default=0)
