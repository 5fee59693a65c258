"""The tables of the store; `migrations/` builds the same ones step by step."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from schedsearch.store.cells import Amount, Mapping, Numbers, Picture, Real, UtcTime, Whole, Words

VERSION_TABLE = "schedsearch_version"
"""Holds the revision. A name of our own tells our databases from others that Alembic manages."""

REVISION = "0011"
"""The revision that these tables are; the last one in `migrations/versions`."""


class Base(DeclarativeBase):
    """Types and names that hold in every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        int: Whole(),
        str: Words(),
        float: Real(),
        datetime: UtcTime(),
        dict[str, Any]: Mapping(),
        list[float]: Numbers(),
        bytes: Picture(),
    }


class StudyRow(Base):
    """A study, and who coordinates it.

    `lease_token` grows with every change of hands and never falls, so a write that carries an
    older one comes from a coordinator that has been replaced. `lease_holder` says, too, how many
    seconds after each heartbeat the lease lapses.
    """

    __tablename__ = "study"
    # Ids are never used again: a lease or a context that outlives its row must find nothing.
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    spec: Mapped[dict[str, Any]]
    version: Mapped[str]
    """Of schedsearch, when the study was created."""
    created: Mapped[datetime]
    lease_token: Mapped[int]
    lease_holder: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    lease_since: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    wish: Mapped[str] = mapped_column(
        CheckConstraint("wish IN ('run', 'pause', 'stop')", name="wish"), server_default="run"
    )
    """What the coordinator is asked to do; each one begins with `run`."""
    progress: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    """Where the search stood at the last heartbeat."""
    beat: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    """When that was; for PostgreSQL by the server's clock."""


class ScheduleRow(Base):
    """Keep ratios and ranker, once for all trials that evaluate them."""

    __tablename__ = "schedule"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    keep: Mapped[list[float]]
    ranker: Mapped[dict[str, Any]]


class TrialRow(Base):
    """One schedule in one study; the columns of its measurement are empty until it is complete.

    But for `drop`, which a screened trial has: the estimate from the samples that it has read.
    """

    __tablename__ = "trial"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        CheckConstraint(
            "state IN ('WAITING', 'RUNNING', 'COMPLETE', 'SCREENED', 'PRUNED', 'FAIL')",
            name="state",
        ),
        CheckConstraint("(state = 'COMPLETE') = (score IS NOT NULL)", name="complete"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    number: Mapped[int]
    schedule_id: Mapped[int] = mapped_column(ForeignKey("schedule.id"), index=True)
    target: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    """The model that the schedule was made for: a note, and no part of the schedule's identity."""
    params: Mapped[dict[str, Any]]
    state: Mapped[str]
    attempt: Mapped[int]
    """Number of the last attempt, from 1; 0 where there was none. Results carry it back."""
    reason: Mapped[str]
    created: Mapped[datetime]
    score: Mapped[float | None] = mapped_column(Real(null=True))
    standard_error: Mapped[float | None] = mapped_column(Amount(null=True))
    n: Mapped[int | None] = mapped_column(Whole(null=True))
    flops_ratio: Mapped[float | None] = mapped_column(Amount(null=True))
    kv_ratio: Mapped[float | None] = mapped_column(Amount(null=True))
    drop: Mapped[float | None] = mapped_column(Real(null=True))
    drop_standard_error: Mapped[float | None] = mapped_column(Amount(null=True))
    samples: Mapped[int | None] = mapped_column(Whole(null=True))
    """How many samples are asked besides those that can gain; empty for all samples."""
    read: Mapped[int] = mapped_column(server_default="0")
    """How many samples had been read when the trial was closed, in reading order."""


class AttemptRow(Base):
    """One try at a trial: added when it starts, completed once when it ends, never removed."""

    __tablename__ = "attempt"

    trial_id: Mapped[int] = mapped_column(ForeignKey("trial.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    lease_token: Mapped[int]
    started: Mapped[datetime]
    ended: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    reason: Mapped[str]
    """Why it ended without a measurement; empty while it runs and where it succeeded."""
    spent: Mapped[float | None] = mapped_column(Amount(null=True))
    """Work in full-forward equivalents; empty while it runs, and if it never said how it ended."""
    naive: Mapped[float | None] = mapped_column(Amount(null=True))
    """What the schedule would have cost on all samples by full forwards; 0 if it had been asked."""
    workers: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    """When each worker that worked for it began and ended; empty where that is not known."""


class ContextRow(Base):
    """Everything besides sample and counts that a score depends on, as one digest."""

    __tablename__ = "context"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    description: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class StudyContextRow(Base):
    """Which studies evaluate in a context: pruning keeps its evaluations as long as one does."""

    __tablename__ = "study_context"

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), primary_key=True)
    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), primary_key=True)


class SampleRow(Base):
    """Keys of samples, so that an evaluation needs an integer only."""

    __tablename__ = "sample"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)


class CountsRow(Base):
    """Kept vision tokens per layer ("576,576,300"), so that an evaluation needs an integer only."""

    __tablename__ = "counts"

    id: Mapped[int] = mapped_column(primary_key=True)
    kept: Mapped[str] = mapped_column(unique=True)


class CertificationRow(Base):
    """What a study was to prove on samples: added before one of them is looked at, never removed.

    So samples that have been looked at are known, whatever became of the proof.
    """

    __tablename__ = "certification"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    request: Mapped[dict[str, Any]]
    images: Mapped[str]
    """What the samples show, as short digests between blanks."""
    result: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    """What came of it; empty until all is known."""
    created: Mapped[datetime]


class ComparisonRow(Base):
    """What held-out samples last said of a study's result and of baselines."""

    __tablename__ = "comparison"

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), primary_key=True)
    content: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class ExhibitRow(Base):
    """What became of one sample of a trial, token by token; bounded, as pictures take room."""

    __tablename__ = "exhibit"
    # Those that were added first make room for others, so ids have to grow.
    __table_args__ = (UniqueConstraint("trial_id", "sample"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trial.id"))
    sample: Mapped[str]
    """Hash of its content; of a sample without a score there is no key."""
    content: Mapped[dict[str, Any]]
    picture: Mapped[bytes]
    created: Mapped[datetime]


class EvaluationRow(Base):
    """The score of one sample under its counts in a context; the first one stored stays.

    The table is its primary key (no second copy in an index), and that key begins with context
    and counts: the scores of one schedule lie together.
    """

    __tablename__ = "evaluation"
    __table_args__ = {"sqlite_with_rowid": False}

    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), primary_key=True)
    counts_id: Mapped[int] = mapped_column(ForeignKey("counts.id"), primary_key=True)
    sample_id: Mapped[int] = mapped_column(ForeignKey("sample.id"), primary_key=True)
    score: Mapped[float]
    prediction: Mapped[str | None] = mapped_column(Words(null=True))


class ChangeRow(Base):
    """A transaction on a PostgreSQL server whose COMMIT has perhaps not been answered.

    It adds the row itself: where that is, the transaction is stored. Once the answer has come, one
    of the next transactions of the same process removes it.
    """

    __tablename__ = "change"

    mark: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[datetime]


class TokenRow(Base):
    """A token of the service: who holds its secret may do what its scope says."""

    __tablename__ = "token"
    # An id names a token for ever, in audits too.
    __table_args__ = (
        CheckConstraint("scope IN ('read', 'launch', 'admin')", name="scope"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    salt: Mapped[str]
    digest: Mapped[str]
    """Of salt and secret, which is stored nowhere."""
    scope: Mapped[str]
    created: Mapped[datetime]
    expires: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    revoked: Mapped[datetime | None] = mapped_column(UtcTime(null=True))


class SessionRow(Base):
    """A browser that is logged in by a token; it may do no more, and for no longer."""

    __tablename__ = "session"

    digest: Mapped[str] = mapped_column(primary_key=True)
    """Of the secret in its cookie."""
    token_id: Mapped[int] = mapped_column(ForeignKey("token.id"), index=True)
    created: Mapped[datetime]
    expires: Mapped[datetime]


class AuditRow(Base):
    """Something that somebody had the service write; never changed."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    who: Mapped[str]
    action: Mapped[str]
    object: Mapped[str]
    origin: Mapped[str]
    """The address that asked."""
    detail: Mapped[dict[str, Any]]


class LaunchRow(Base):
    """A study that a service was asked to search: what is searched, and where that stands.

    `version` grows with every change that somebody asks for.
    """

    __tablename__ = "launch"
    __table_args__ = (
        CheckConstraint("state IN ('CREATED', 'QUEUED', 'STARTED', 'ENDED')", name="state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(unique=True)
    content: Mapped[dict[str, Any]]
    """Of the study file."""
    version: Mapped[int]
    state: Mapped[str]
    who: Mapped[str]
    created: Mapped[datetime]
    queued: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    started: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    ended: Mapped[datetime | None] = mapped_column(UtcTime(null=True))
    backend: Mapped[str]
    attempt: Mapped[int]
    """How often it was begun; a coordinator of an earlier time may not claim it."""
    handle: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    """The coordinator, once it has claimed the launch."""
    ending: Mapped[str]
    """How the search ended, as `Run` says it, or `failed`; empty before."""
    reason: Mapped[str]


class AnswerRow(Base):
    """What a request with an idempotency key was answered; empty while it is at work."""

    __tablename__ = "answer"

    who: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[str]
    """Digest of method, path and body: the same key for another request is refused."""
    status: Mapped[int | None] = mapped_column(Whole(null=True))
    headers: Mapped[dict[str, Any] | None] = mapped_column(Mapping(null=True))
    body: Mapped[str | None] = mapped_column(Words(null=True))
    created: Mapped[datetime]


class SampleSetRow(Base):
    """A calibration set that was uploaded; its files lie in the folder of the service."""

    __tablename__ = "sample_set"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    samples: Mapped[int]
    bytes: Mapped[int]
    who: Mapped[str]
    created: Mapped[datetime]
