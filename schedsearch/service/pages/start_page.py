"""Starting a study: its file, checked while it is written, with fields for the usual keys."""

import hashlib
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from schedsearch.app import draft
from schedsearch.app.config import check_study, parse_study
from schedsearch.app.permitted import UPLOADED
from schedsearch.app.precedent import Expected, expected
from schedsearch.demo import DATA
from schedsearch.errors import InputError, SchedsearchError
from schedsearch.evaluation.metrics import METRICS
from schedsearch.samplers import SAMPLERS
from schedsearch.service.api.common import InOffice, Office, launched, once
from schedsearch.service.api.studies import created
from schedsearch.service.api.system import names
from schedsearch.service.auth import Principal
from schedsearch.service.pages.page import LaunchVisitor, PageRoute, Submits, path, render
from schedsearch.service.problems import key_of, status_of
from schedsearch.service.schemas import StudyOut
from schedsearch.service.views import every_study

router = APIRouter(include_in_schema=False, route_class=PageRoute)

NUMBERS = ("data.calibration_samples", draft.GREATEST_DROP, "search.budget.flops", "search.trials")
FIELDS = ("study", "model", "data.calibration", "metric", "search.sampler", *NUMBERS)
_Ask = Literal["check", "fill", "plan", "create", "start"]
_Text = Annotated[str, Form(max_length=1 << 20)]
_Short = Annotated[str, Form(max_length=500)]


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a study file.

    Attributes:
        fault: Why it cannot be used; empty where it can.
        key: Path of the key that is at fault, where there is one.
        study: Its name, where it can be used.
        expected: What its search will cost, where it can be used.
        plan: Whether stand-ins were to be searched for that.
    """

    fault: str = ""
    key: str = ""
    study: str = ""
    expected: Expected | None = None
    plan: bool = False


@router.get("/start")
def start_page(
    request: Request,
    office: InOffice,
    who: LaunchVisitor,
    source: Annotated[str, Query(alias="from", max_length=100)] = "",
) -> HTMLResponse:
    """Show a study file to begin with, or that of another study."""
    text = draft.TEMPLATE
    if source:
        content = _portable(office, dict(launched(office, source).content))
        text = draft.written({**content, "study": f"{source}-2"})
    return _form(request, office, who, text, _verdict(office, text))


async def _filled(request: Request) -> Mapping[str, str]:
    """The fields that were sent, by key."""
    form = await request.form()
    return {key: value for key in FIELDS if isinstance(value := form.get(key), str)}


@router.post("/start")
async def start_study(
    request: Request,
    office: InOffice,
    who: Submits,
    filled: Annotated[Mapping[str, str], Depends(_filled)],
    text: _Text = "",
    key: _Short = "",
    ask: Annotated[_Ask, Form()] = "check",
) -> Response:
    """Check a study file, write fields into it, or keep it and have it searched."""
    answer = partial(_answer, request, office, who, filled, text, key, ask)
    # Plans take seconds, so they wait for each other and for models, and no page for them.
    apart = request.app.state.thinking if ask == "plan" else None
    return await to_thread.run_sync(answer, limiter=apart)


def _answer(
    request: Request,
    office: Office,
    who: Principal,
    filled: Mapping[str, str],
    text: str,
    key: str,
    ask: _Ask,
) -> Response:
    text = text.replace("\r\n", "\n")
    if ask in ("check", "fill", "plan"):
        if ask == "fill":
            text = _with(text, filled)
        return _form(request, office, who, text, _verdict(office, text, ask == "plan"), key)

    def work() -> tuple[StudyOut, int, Mapping[str, str]]:
        return created(office, request, who, text, ask == "start"), 201, {}

    # A form that is sent twice makes one study; one that was changed meanwhile asks for another.
    once_key = f"{key}.{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:32]}"
    try:
        made = once(office, who, once_key, request, f"{ask}\n{text}", work)
    except SchedsearchError as error:
        return _form(request, office, who, text, _fault(str(error)), key, status_of(error))
    name = json.loads(bytes(made.body))["name"]
    return RedirectResponse(path(request, "study_page", name=name), 303)


def _with(text: str, filled: Mapping[str, str]) -> str:
    """A study file with the fields that differ from it; as it was where that cannot be."""
    known = draft.values(text, FIELDS)
    try:
        for key, value in filled.items():
            if value != known[key]:
                text = draft.changed(text, key, _value(key, value.strip()))
    except InputError:  # of the text, which the verdict tells
        return text
    return text


def _value(key: str, value: str) -> str | float | None:
    if not value:
        return None
    if key in NUMBERS:
        for kind in (int, float):
            try:
                number: float = kind(value)
            except ValueError:
                continue
            return number if math.isfinite(number) else value
    return value


def _verdict(office: Office, text: str, plan: bool = False) -> Verdict:
    try:
        config = parse_study(text, "study")
        content = office.launching.validated(config)
    except SchedsearchError as error:
        return _fault(str(error))
    if any(one.name == config.study for one in every_study(office.store)):
        return _fault(f"`study`: there is a study {config.study} already; choose another name")
    whole = check_study(content, config.study)
    try:
        cost = expected(whole, office.store, plan)
    except SchedsearchError as error:
        return _fault(str(error))
    return Verdict(study=config.study, expected=cost, plan=plan)


def _fault(message: str) -> Verdict:
    return Verdict(message, key_of(message))


def _form(
    request: Request,
    office: Office,
    who: Principal,
    text: str,
    verdict: Verdict,
    key: str = "",
    status: int = 200,
) -> HTMLResponse:
    named = names(office, who)
    uploaded = {f"{UPLOADED}{one.digest}": one.name for one in office.uploads.sets()}
    return render(
        request,
        "start.html",
        who,
        status,
        text=text,
        verdict=verdict,
        key=key or secrets.token_urlsafe(16),
        values=draft.values(text, FIELDS),
        allowed=draft.allowed(text, FIELDS),
        drop=draft.GREATEST_DROP,
        wrong=_wrong(verdict.key),
        models=named.models,
        sets=[(one, uploaded.get(one, "")) for one in _splits(named.sets)],
        metrics=list(METRICS),
        samplers=list(SAMPLERS),
    )


def _wrong(key: str) -> str:
    """The field of the key that is at fault."""
    if key in ("search.tolerance", "search.max_drop"):
        return draft.GREATEST_DROP
    return "search.budget.flops" if key.startswith("search.budget") else key


def _splits(sets: list[str]) -> list[str]:
    """Sets as studies name them for their search."""
    return [f"{one}:calibration" if one in DATA else one for one in sets]


def _portable(office: Office, content: dict[str, Any]) -> dict[str, Any]:
    """With uploaded sets as people name them."""
    uploaded = {str(office.uploads.file(one.digest)): one.digest for one in office.uploads.sets()}
    data = dict(content.get("data", {}))
    for key, value in data.items():
        if value in uploaded:
            data[key] = f"{UPLOADED}{uploaded[value]}"
    return {**content, "data": data}
