"""What the REST interface takes and returns."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, computed_field

from schedsearch.core.comparison import Loss
from schedsearch.core.progress import Progress
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial
from schedsearch.store.access import Audit, Token
from schedsearch.store.launches import Launch
from schedsearch.store.sample_sets import SampleSetEntry
from schedsearch.store.studies import StudySummary

State = Literal["created", "queued", "starting", "running", "ended", "failed", "idle"]


class Body(BaseModel):
    """What is returned."""

    model_config = ConfigDict(from_attributes=True)


class ScheduleOut(Body):
    """Keep ratios of all layers, and who orders the tokens."""

    keep: tuple[float, ...]
    ranker: str
    ranker_params: Mapping[str, Any]

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        """A schedule as it is returned."""
        return cls(
            keep=schedule.keep,
            ranker=schedule.ranker.name,
            ranker_params=dict(schedule.ranker.params),
        )


class TrialOut(Body):
    """A trial."""

    number: int
    state: str
    params: Mapping[str, Any]
    schedule: ScheduleOut
    samples: int | None
    read: int
    reason: str
    score: float | None
    standard_error: float | None
    drop: float | None
    drop_standard_error: float | None
    flops_ratio: float | None
    kv_ratio: float | None
    n: int | None

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """A trial as it is returned."""
        measured = trial.measurement
        names = ("score", "standard_error", "drop_standard_error", "flops_ratio", "kv_ratio", "n")
        return cls(
            number=trial.number,
            state=str(trial.state),
            params=trial.params,
            schedule=ScheduleOut.of(trial.schedule),
            samples=trial.samples,
            read=trial.read,
            reason=trial.reason,
            drop=trial.expected if measured is None else measured.drop,
            **{name: getattr(measured, name, None) for name in names},
        )


class TrialsOut(Body):
    """Some trials, and where the next are."""

    trials: list[TrialOut]
    total: int
    cursor: str | None = Field(description="Of the next page; none where this is the last.")


class StintOut(Body):
    """When a worker was at work."""

    worker: str
    began: datetime
    ended: datetime


class AttemptOut(Body):
    """One try at a trial."""

    number: int
    started: datetime
    ended: datetime | None
    reason: str
    workers: list[StintOut] = Field(
        description="Who worked for it, each once; none while it runs, and where it is not known."
    )


class TrialDetailOut(TrialOut):
    """A trial with all attempts at it."""

    attempts: list[AttemptOut]


class AnswerOut(Body):
    """What became of one sample, under the schedule and under the full model."""

    sample: str
    score: float
    prediction: str | None
    full_score: float | None
    full_prediction: str | None


class AnswersOut(Body):
    """Some samples of a trial, by key, and where the next are."""

    answers: list[AnswerOut]
    cursor: str | None


class StudyOut(Body):
    """A study: what was asked of the service, and what the store has."""

    name: str
    state: State
    created: datetime
    version: int | None = Field(
        description="Of its content here, as in ETag; none where it was made without the service."
    )
    by: str | None
    queued: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    ending: str | None = None
    reason: str | None = None
    model: str
    sampler: str
    trials: Mapping[str, int]
    holder: str | None
    lease_seconds_left: float | None
    wish: str | None
    silence: float | None
    progress: Progress | None

    @classmethod
    def of(cls, name: str, launch: Launch | None, found: StudySummary | None) -> Self:
        """A study as it is returned."""
        spec, content = found and found.spec, launch.content if launch else {}
        search = spec.search if spec else content.get("search", {})
        created = launch.created if launch else found.created if found else None
        assert created is not None
        return cls(
            name=name,
            state=state_of(launch, found),
            created=created,
            version=launch.version if launch else None,
            by=launch.who if launch else None,
            queued=launch.queued if launch else None,
            started=launch.started if launch else None,
            ended=launch.ended if launch else None,
            ending=launch.ending or None if launch else None,
            reason=launch.reason or None if launch else None,
            model=str(spec.model if spec else content.get("model", "")),
            sampler=str(search.get("sampler", "g-search")),
            trials={str(state): n for state, n in found.trials.items()} if found else {},
            holder=str(found.holder) if found and found.holder else None,
            lease_seconds_left=found.left if found else None,
            wish=found.wish if found and found.holder else None,
            silence=found.silence if found and found.holder else None,
            progress=found.progress if found else None,
        )


def state_of(launch: Launch | None, found: StudySummary | None) -> State:
    """What becomes of a study now."""
    searched = found is not None and found.holder is not None and bool(found.left)
    if launch is None or launch.state in ("CREATED", "ENDED"):
        if searched:
            return "running"  # from a command line
        if launch is None:
            return "idle"
        if launch.state == "CREATED":
            return "created"
        return "failed" if launch.ending == "failed" else "ended"
    if launch.state == "QUEUED":
        return "queued"
    return "running" if searched else "starting"


class StudiesOut(Body):
    """Studies, the latest first, and where the next are."""

    studies: list[StudyOut]
    total: int
    cursor: str | None


class LossOut(Body):
    """What a schedule loses on samples that did not choose it, with its 95 % interval."""

    data: str = Field(description="Name of the samples.")
    samples: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, loss: Loss | None) -> Self | None:
        """What a study knows."""
        if loss is None:
            return None
        drop = loss.drop
        return cls(data=loss.data, samples=drop.n, value=drop.value, low=drop.low, high=drop.high)


class BestOut(Body):
    """The result of a study so far."""

    trial: int | None
    flops_ratio: float
    kv_ratio: float
    loss: LossOut | None = Field(
        description="What it loses against the full model; none where no samples were asked that "
        "did not choose it."
    )
    claim: str | None = Field(description="What is proven of it; none where nothing is.")
    schedule: ScheduleOut

    @computed_field(description="The value of `loss`: on samples that did not choose it.")
    def drop(self) -> float | None:
        """Mean loss against the full model."""
        return self.loss.value if self.loss else None


class ValidOut(Body):
    """A study file that could be created."""

    study: str
    content: Mapping[str, Any] = Field(description="As it would be stored.")


class TokenOut(Body):
    """A token, without its secret."""

    id: int
    name: str
    scope: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    @classmethod
    def of(cls, token: Token) -> Self:
        """A token as it is returned."""
        return cls.model_validate(token)


class TokenIn(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    scope: Literal["read", "launch", "admin"] = "read"
    days: float | None = Field(default=None, ge=0.001, le=36500, description="Until it expires.")


class NewTokenOut(TokenOut):
    """A token with its secret, which is never shown again."""

    token: str


class AuditOut(Body):
    """Something that somebody had the service write."""

    id: int
    time: datetime
    who: str
    action: str
    object: str
    origin: str
    detail: Mapping[str, Any]

    @classmethod
    def of(cls, audit: Audit) -> Self:
        """An audit as it is returned."""
        return cls.model_validate(audit)


class AuditsOut(Body):
    """Audits, the latest first, and where the earlier are."""

    audits: list[AuditOut]
    cursor: str | None


class WorkerOut(Body):
    """A coordinator that is at work."""

    study: str
    holder: str
    host: str
    pid: int
    lease_seconds_left: float | None
    silence: float | None
    phase: str | None


class SetOut(Body):
    """An uploaded set."""

    digest: str = Field(description="A study names the set as `set:DIGEST`.")
    name: str
    samples: int
    bytes: int = Field(description="What its files take on disk, in whole blocks.")
    by: str
    created: datetime

    @classmethod
    def of(cls, entry: SampleSetEntry) -> Self:
        """A set as it is returned."""
        return cls(
            digest=entry.digest,
            name=entry.name,
            samples=entry.samples,
            bytes=entry.bytes,
            by=entry.who,
            created=entry.created,
        )
