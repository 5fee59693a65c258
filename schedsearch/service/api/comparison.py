"""Studies side by side."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import Field

from schedsearch.app.report_text import without_folders
from schedsearch.app.side_by_side import Beside, beside, differences
from schedsearch.core.certificate import Link
from schedsearch.core.comparison import Row
from schedsearch.service.api.common import InOffice, check_begun, errors
from schedsearch.service.auth import Reads
from schedsearch.service.schemas import Body, ScheduleOut, TrialOut

router = APIRouter(tags=["studies"])

_MOST = 8
Named = Annotated[
    list[str], Query(min_length=1, max_length=_MOST, description="Name of a study; one or more.")
]


class IntervalOut(Body):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class HeldOutOut(Body):
    """What samples said of a schedule that no search had seen."""

    what: str
    flops_ratio: float
    kv_ratio: float
    score: IntervalOut | None
    drop: IntervalOut | None
    samples: int
    proven: bool
    schedule: ScheduleOut

    @classmethod
    def of(cls, link: Link, samples: int, proven: bool) -> Self:
        """A schedule that was tested, as it is returned."""
        return cls(
            what=link.what,
            flops_ratio=link.flops_ratio,
            kv_ratio=link.kv_ratio,
            score=IntervalOut.model_validate(link.score) if link.score else None,
            drop=IntervalOut.model_validate(link.drop) if link.drop else None,
            samples=samples,
            proven=proven,
            schedule=ScheduleOut.of(link.schedule),
        )


class RowOut(Body):
    """One way to run the model on held-out samples."""

    name: str
    what: str
    score: IntervalOut | None = Field(description="None where this way is not available.")
    difference: IntervalOut | None = Field(
        description="This row minus the found schedule, paired by sample; none in its own row."
    )
    flops_ratio: float | None
    kv_ratio: float | None
    mean_keep: float | None
    reason: str = Field(description="Why it is not available.")

    @classmethod
    def of(cls, row: Row) -> Self:
        """A row, as it is returned."""
        parts = {
            name: IntervalOut.model_validate(one) if one else None
            for name, one in (("score", row.score), ("difference", row.difference))
        }
        return cls(**{**vars(row), **parts, "reason": without_folders(row.reason)})


class ReportedOut(Body):
    """The found schedule on held-out samples, after a report beside what it has to beat."""

    metric: str
    data: str
    data_digest: str
    samples: int
    current: bool = Field(description="Whether it is of the result so far.")
    rows: list[RowOut] = Field(
        description="The full model, the found schedule, then baselines, if there was a report."
    )

    @classmethod
    def of(cls, one: Beside) -> Self | None:
        """The comparison of a study, as it is returned; None where there is none."""
        found = one.comparison
        if found is None:
            return None
        return cls(
            metric=found.metric,
            data=found.data,
            data_digest=found.data_digest,
            samples=found.samples,
            current=one.current,
            rows=[RowOut.of(row) for row in found.rows],
        )


class ComparedOut(Body):
    """A study beside others."""

    study: str
    model: str
    calibration_digest: str
    metric: str
    sampler: str
    trials: int
    full_passes: float = Field(description="What the search cost, in passes of the full model.")
    best: TrialOut | None = Field(description="The result so far, on calibration samples.")
    held_out: list[HeldOutOut] = Field(description="Of its certificate.")
    reported: ReportedOut | None = Field(description="On held-out samples, against baselines.")

    @classmethod
    def of(cls, one: Beside) -> Self:
        """A study beside others, as it is returned."""
        view, samples = one.view, one.proof.n if one.proof else 0
        return cls(
            study=view.name,
            model=view.spec.model,
            calibration_digest=view.spec.calibration_digest,
            metric=view.spec.metric,
            sampler=str(view.spec.search["sampler"]),
            trials=len(view.trials),
            full_passes=view.effort.spent,
            best=TrialOut.of(one.best) if one.best else None,
            held_out=[HeldOutOut.of(link, samples, proven) for link, proven in one.held_out],
            reported=ReportedOut.of(one),
        )


class ComparisonOut(Body):
    """Studies side by side, in the order in which they were named."""

    studies: list[ComparedOut]
    differ: list[str] = Field(
        description="Of model, calibration set and metric: figures across these mean little."
    )


@router.get("/comparison", responses=errors(404, 409), summary="Compare studies")
def compare(office: InOffice, _who: Reads, study: Named) -> ComparisonOut:
    """Return what studies have found, what it costs, and what unseen samples said of it."""
    names = list(dict.fromkeys(study))
    for name in names:
        check_begun(office, name)
    views = [office.views.of(name) for name in names]
    found = [ComparedOut.of(beside(view)) for view in views]
    return ComparisonOut(studies=found, differ=differences(views))
