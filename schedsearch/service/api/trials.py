"""Trials of a study, their answers, and the schedules that can be taken away."""

import re
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import Response as Plain

from schedsearch.app.report import schedule_file
from schedsearch.core.schedule import Schedule
from schedsearch.core.schedule_file import schedule_bytes
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.service.api.common import (
    Cursor,
    InOffice,
    Limit,
    Office,
    check_begun,
    errors,
    from_cursor,
    to_cursor,
)
from schedsearch.service.auth import Reads
from schedsearch.service.problems import ProblemError, not_found
from schedsearch.service.routes import NamedRoute
from schedsearch.service.schemas import (
    AnswerOut,
    AnswersOut,
    AttemptOut,
    BestOut,
    LossOut,
    ScheduleOut,
    TrialDetailOut,
    TrialOut,
    TrialsOut,
)
from schedsearch.store.pages import Order, Place, Wanted

router = APIRouter(prefix="/studies/{name}", tags=["trials"], route_class=NamedRoute)

_MOST = 10**9
Number = Annotated[int, Path(ge=0, le=_MOST)]
Sample = Annotated[str, Path(max_length=100)]
_SCHEDULE = "application/json"
_WEBP = "image/webp"
_FOR_AN_HOUR = "private, max-age=3600"


def pictures(description: str) -> dict[str, Any]:
    """What a route answers that gives pictures."""
    content = {_WEBP: {"schema": {"type": "string", "format": "binary"}}}
    return {"content": content, "description": description}


def picture_answer(picture: bytes) -> Response:
    """A picture as it is sent."""
    return Response(picture, media_type=_WEBP, headers={"Cache-Control": _FOR_AN_HOUR})


@router.get("/trials", responses=errors(404, 409), summary="List trials")
def list_trials(
    office: InOffice,
    _who: Reads,
    name: str,
    state: Annotated[list[TrialState] | None, Query(description="In one of these.")] = None,
    max_cost: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_drop: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    layer: Annotated[int | None, Query(ge=0, le=_MOST)] = None,
    order: Order = "number",
    descending: bool = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> TrialsOut:
    """Return trials; those that lack what they are sorted by come last."""
    check_begun(office, name)
    wanted = Wanted(tuple(state or ()), max_cost, max_drop, layer, order, descending)
    after = None
    if cursor is not None:
        value, number = from_cursor(cursor, (float | int | None, int))
        after = Place(value, number)
    page = office.store.page(name, wanted, after, limit)
    following = to_cursor(list(page.following)) if page.following else None
    trials = [TrialOut.of(trial) for trial in page.trials]
    return TrialsOut(trials=trials, total=page.total, cursor=following)


@router.get("/trials/{number}", responses=errors(404, 409), summary="Show a trial")
def show_trial(office: InOffice, _who: Reads, name: str, number: Number) -> TrialDetailOut:
    """Return a trial with all attempts at it."""
    found = find_trial(office, name, number)
    attempts = [AttemptOut.model_validate(one) for one in office.store.attempts(name, number)]
    return TrialDetailOut(**TrialOut.of(found).model_dump(), attempts=attempts)


@router.get("/trials/{number}/answers", responses=errors(404, 409), summary="Answers of a trial")
def answers(
    office: InOffice,
    _who: Reads,
    name: str,
    number: Number,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AnswersOut:
    """Return score and answer of each sample that was read, beside those of the full model."""
    (after,) = from_cursor(cursor, (str,)) if cursor is not None else ("",)
    found = answers_of(office, name, find_trial(office, name, number).schedule, after, limit + 1)
    following = to_cursor([found[limit - 1].sample]) if len(found) > limit else None
    return AnswersOut(answers=found[:limit], cursor=following)


@router.get(
    "/trials/{number}/answers/{sample}/picture",
    response_class=Plain,
    responses={200: pictures("A small picture of the sample's images."), **errors(404, 409)},
    summary="Picture of an answer's sample",
)
def answer_picture(
    office: InOffice, _who: Reads, name: str, number: Number, sample: Sample
) -> Response:
    """Return the picture of a sample that the search has seen, if its set may be opened here.

    That is so of sets that come with a package, were uploaded or lie in a folder of the service, if
    they are still what was searched. They are read when somebody first asks: until then, 404.
    """
    found = answers_of(office, name, find_trial(office, name, number).schedule, samples=[sample])
    picture = office.pictures.picture(name, sample) if found else None
    if picture is None:
        raise not_found(f"picture of sample {sample} of trial {number} of `{name}`, or none yet")
    return picture_answer(picture)


def answers_of(
    office: Office,
    name: str,
    schedule: Schedule,
    after: str = "",
    limit: int = 1,
    samples: Collection[str] | None = None,
) -> list[AnswerOut]:
    """At most so many samples of a schedule by key, those after a key, and the full model's."""
    visions = office.store.spec(name).facts.n_visions
    counts = [schedule.counts(n) for n in visions]
    kept_all = all(count == n for n, row in zip(visions, counts, strict=True) for count in row)
    ranker = {"name": schedule.ranker.name, "params": dict(schedule.ranker.params)}
    own = office.store.answers(name, None if kept_all else ranker, counts, after, limit, samples)
    kept = [(n,) * schedule.layers for n in visions]
    asked = [one.sample for one in own]
    beside = office.store.answers(name, None, kept, limit=len(own), samples=asked)
    full = {one.sample: one for one in beside}
    return [
        AnswerOut(
            sample=one.sample,
            score=one.score,
            prediction=one.prediction,
            full_score=full[one.sample].score if one.sample in full else None,
            full_prediction=full[one.sample].prediction if one.sample in full else None,
        )
        for one in own
    ]


Budget = Annotated[
    float | None, Query(ge=0, allow_inf_nan=False, description="The best of at most this cost.")
]
MaxDrop = Annotated[
    float | None,
    Query(ge=0, allow_inf_nan=False, description="The cheapest that loses at most this much."),
]


@router.get("/best", responses=errors(404, 409), summary="Result so far")
def best(
    office: InOffice, _who: Reads, name: str, budget: Budget = None, max_drop: MaxDrop = None
) -> BestOut:
    """Return what is certified, else what was found; or another trial, by cost or drop."""
    check_begun(office, name)
    view = office.views.of(name)
    link = view.certification.best if view.certification else None
    if link is not None and budget is None and max_drop is None:
        assert link.schedule.certificate is not None
        return BestOut(
            trial=None,
            flops_ratio=link.flops_ratio,
            kv_ratio=link.kv_ratio,
            loss=LossOut.of(view.loss(link.schedule)),
            claim=link.schedule.certificate.claim,
            schedule=ScheduleOut.of(link.schedule),
        )
    try:
        trial = view.pick(budget, max_drop)
    except InputError as error:
        raise ProblemError(409, str(error)) from None
    measured = trial.measurement
    assert measured is not None
    return BestOut(
        trial=trial.number,
        flops_ratio=measured.flops_ratio,
        kv_ratio=measured.kv_ratio,
        loss=LossOut.of(view.loss(trial.schedule)),
        claim=None,
        schedule=ScheduleOut.of(trial.schedule),
    )


@router.get(
    "/schedule",
    response_class=Plain,
    responses={
        200: {"content": {_SCHEDULE: {"schema": {"type": "object"}}}, "description": "The file."},
        **errors(404, 409),
    },
    summary="Take a schedule away",
)
def schedule(
    office: InOffice,
    _who: Reads,
    name: str,
    budget: Budget = None,
    max_drop: MaxDrop = None,
    trial: Annotated[int | None, Query(ge=0, le=_MOST, description="Of this number.")] = None,
) -> Response:
    """Return a schedsearch.schedule/1 file: what `schedsearch export` writes."""
    check_begun(office, name)
    view = office.views.of(name)
    try:
        if trial is not None:
            chosen = next((one for one in view.trials if one.number == trial), None)
            if chosen is None:
                raise not_found(f"trial {trial} of `{name}`")
            if chosen.measurement is None:
                raise ProblemError(409, f"trial {trial} was not measured on all samples")
        elif budget is None and max_drop is None:
            chosen = None
        else:
            chosen = view.pick(budget, max_drop)
        file = schedule_file(view, view.comparison, chosen)
    except InputError as error:
        raise ProblemError(409, str(error)) from None
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    named = {"Content-Disposition": f'attachment; filename="{plain}.schedule.json"'}
    return Response(schedule_bytes(file), media_type=_SCHEDULE, headers=named)


def find_trial(office: Office, name: str, number: int) -> Trial:
    """The trial of a number.

    Raises:
        ProblemError: There is none.
    """
    check_begun(office, name)
    found = office.store.page(name, after=Place(number - 1, number - 1), limit=1).trials
    if not found or found[0].number != number:
        raise not_found(f"trial {number} of `{name}`")
    return found[0]
