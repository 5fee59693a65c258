"""Samples of a trial that people look at, token by token."""

import base64
from typing import Self

from fastapi import APIRouter, Response
from fastapi.responses import Response as Plain
from pydantic import Field

from schedsearch.core.exhibit import Exhibit
from schedsearch.service.api.common import InOffice, errors
from schedsearch.service.api.trials import Number, Sample, find_trial, picture_answer, pictures
from schedsearch.service.auth import Reads
from schedsearch.service.problems import not_found
from schedsearch.service.routes import NamedRoute
from schedsearch.service.schemas import Body

router = APIRouter(
    prefix="/studies/{name}/trials/{number}/exhibits", tags=["trials"], route_class=NamedRoute
)


class BoxOut(Body):
    """A part of a picture, in shares of its width and height."""

    left: float
    top: float
    width: float
    height: float


class TokenViewOut(Body):
    """Vision tokens that follow each other in the prompt, row by row."""

    rows: int
    columns: int
    box: BoxOut | None = Field(
        description="What they cover; none where no token is known to stand for a place."
    )


class ExhibitOut(Body):
    """A sample under a schedule and under the full model."""

    sample: str = Field(description="Hash of its content, as `answers` has it.")
    name: str
    split: str
    question: str
    references: tuple[str, ...]
    answer: str
    full_answer: str
    score: float
    full_score: float
    changed: bool = Field(description="Whether the schedule changes the answer.")
    width: int = Field(description="Of the picture, in pixels.")
    height: int
    views: tuple[TokenViewOut, ...]
    counts: tuple[int, ...] = Field(description="Vision tokens that each layer processes.")
    kept: list[str] = Field(
        description="For each layer a bit for each vision token, 1 where it processes it, the "
        "first in the highest bit of the first byte; in base64."
    )

    @classmethod
    def of(cls, exhibit: Exhibit) -> Self:
        """An exhibit as it is returned."""
        names = cls.model_fields.keys() - {"kept"}
        found = {name: getattr(exhibit, name) for name in names}
        return cls(**found, kept=[base64.b64encode(one).decode() for one in exhibit.kept])


class ExhibitsOut(Body):
    """All exhibits of a trial: changed answers first, then in the order of their set."""

    exhibits: list[ExhibitOut]


@router.get("", responses=errors(404, 409), summary="Samples of a trial, token by token")
def list_exhibits(office: InOffice, _who: Reads, name: str, number: Number) -> ExhibitsOut:
    """Return which tokens each layer kept of some samples, and both answers."""
    find_trial(office, name, number)
    return ExhibitsOut(exhibits=[ExhibitOut.of(one) for one in office.store.exhibits(name, number)])


@router.get(
    "/{sample}/picture",
    response_class=Plain,
    responses={200: pictures("A small picture of what the model sees."), **errors(404, 409)},
    summary="Picture of a sample",
)
def exhibit_picture(
    office: InOffice,
    _who: Reads,
    name: str,
    number: Number,
    sample: Sample,
) -> Response:
    """Return the picture whose parts the tokens stand for."""
    find_trial(office, name, number)
    found = office.store.exhibit_pictures(name, number, [sample]).get(sample)
    if found is None:
        raise not_found(f"exhibit {sample} of trial {number} of `{name}`")
    return picture_answer(found)
