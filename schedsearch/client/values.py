"""What a service tells: studies as they stand, trials, results, tokens and sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from schedsearch.core.comparison import Loss, Row
from schedsearch.core.files import write_file
from schedsearch.core.intervals import Interval
from schedsearch.core.progress import Progress, WorkerSeen
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.schedule_file import SCHEDULE
from schedsearch.core.trial import Measurement, Trial, TrialState

_ACTIVE = ("queued", "starting", "running")

Body = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Status:
    """A study as it stood.

    Attributes:
        name: Its name.
        state: created, queued, starting, running, ended or failed; idle, where it was made
            without the service.
        created: When that was.
        version: Of its content at the service; None where it was made without it.
        by: Who created it.
        queued: When it was last started.
        started: When that search began.
        ended: When that search ended.
        ending: How: finished, stopped, paused, failed.
        reason: Why it failed.
        model: What is searched.
        sampler: How.
        trials: How many there are in each state that occurs.
        holder: The process that searches now.
        lease_seconds_left: For how long that is known to live.
        wish: What that is asked to do.
        silence: Seconds since its last heartbeat.
        progress: Where it stood then; None before the first.
    """

    name: str
    state: str
    created: datetime
    version: int | None
    by: str | None
    queued: datetime | None
    started: datetime | None
    ended: datetime | None
    ending: str | None
    reason: str | None
    model: str
    sampler: str
    trials: Mapping[str, int]
    holder: str | None
    lease_seconds_left: float | None
    wish: str | None
    silence: float | None
    progress: Progress | None

    @property
    def active(self) -> bool:
        """Whether it is searched, or waits for that."""
        return self.state in _ACTIVE

    @classmethod
    def of(cls, body: Body) -> Self:
        """The study in an answer."""
        progress = body.get("progress")
        return _taken(cls, body, progress=_progress(progress) if progress else None)


@dataclass(frozen=True)
class Best:
    """A result that can be taken away.

    Attributes:
        trial: Its number; None of a certified schedule.
        flops_ratio: As `schedsearch.core.flops.flops_ratio` defines it.
        kv_ratio: As `schedsearch.core.flops.kv_ratio` defines it.
        drop: Mean loss of the metric against the full model on samples that did not choose it; None
            where no such samples were asked.
        loss: That with its 95 % interval, and the samples.
        claim: What is proven of it; None where nothing is.
        schedule: The schedule.
        content: Its schedsearch.schedule/1 file.
    """

    trial: int | None
    flops_ratio: float
    kv_ratio: float
    drop: float | None
    loss: Loss | None
    claim: str | None
    schedule: Schedule
    content: bytes = field(repr=False)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the file as the service gave it.

        Args:
            path: The file, in folders that are made where they lack; `-` is standard output.
            force: Replace a file that is no schedule file, too.

        Raises:
            InputError: The file cannot be written or must not be replaced.
        """
        write_file(Path(path), self.content, SCHEDULE, force=force)

    @classmethod
    def of(cls, body: Body, content: bytes) -> Self:
        """The result in an answer, with its file."""
        loss: Body | None = body.get("loss")
        drop = _interval(loss, loss["samples"]) if loss else None
        return _taken(
            cls,
            body,
            drop=drop.value if drop else None,  # an older service means the calibration samples
            loss=Loss(loss["data"], drop) if loss and drop else None,
            schedule=_schedule(body["schedule"]),
            content=content,
        )


@dataclass(frozen=True)
class HeldOut:
    """What samples said of a schedule that no search had seen.

    Attributes:
        what: Where the schedule comes from, in words.
        flops_ratio: As `schedsearch.core.flops.flops_ratio` defines it.
        kv_ratio: As `schedsearch.core.flops.kv_ratio` defines it.
        score: With its 95 % interval; None where it was not asked.
        drop: Full model minus this schedule, paired, with its 95 % interval; None where `score` is.
        samples: How many there were.
        proven: Whether it is proven of the schedule that it loses no more than was allowed.
        schedule: The schedule.
    """

    what: str
    flops_ratio: float
    kv_ratio: float
    score: Interval | None
    drop: Interval | None
    samples: int
    proven: bool
    schedule: Schedule

    @classmethod
    def of(cls, body: Body) -> Self:
        """One row of an answer."""
        made = {name: _interval(body[name], body["samples"]) for name in ("score", "drop")}
        return _taken(cls, body, schedule=_schedule(body["schedule"]), **made)


@dataclass(frozen=True)
class Reported:
    """The found schedule on held-out samples, after a report beside what it has to beat.

    Attributes:
        metric: Name of the metric; larger is better.
        data: Name of the held-out set.
        data_digest: Hash of its content.
        samples: How many there are.
        current: Whether it is of the result so far.
        rows: The full model, the found schedule, then baselines, if there was a report.
    """

    metric: str
    data: str
    data_digest: str
    samples: int
    current: bool
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, body: Body) -> Self:
        """The comparison in an answer."""
        names, samples = ("score", "difference"), body["samples"]
        rows = (
            _taken(Row, row, **{name: _interval(row[name], samples) for name in names})
            for row in body["rows"]
        )
        return _taken(cls, body, rows=tuple(rows))


@dataclass(frozen=True)
class Compared:
    """A study beside others.

    Attributes:
        study: Its name.
        model: What is searched.
        calibration_digest: Of the samples that the search sees.
        metric: What is lost.
        sampler: How it is searched.
        trials: How many there are.
        full_passes: What the search has cost, in passes of the full model.
        best: The result so far, on calibration samples; None before there is one.
        held_out: What other samples said, as its certificate was tested; empty without one.
        reported: What held-out samples said of the result, and after a report of baselines; None
            where none were asked.
    """

    study: str
    model: str
    calibration_digest: str
    metric: str
    sampler: str
    trials: int
    full_passes: float
    best: Trial | None
    held_out: tuple[HeldOut, ...]
    reported: Reported | None

    @classmethod
    def of(cls, body: Body) -> Self:
        """One study of an answer."""
        best = trial_of(body["best"]) if body["best"] else None
        held_out = tuple(map(HeldOut.of, body["held_out"]))
        reported = Reported.of(body["reported"]) if body.get("reported") else None
        return _taken(cls, body, best=best, held_out=held_out, reported=reported)


@dataclass(frozen=True)
class Comparison:
    """Studies side by side.

    Attributes:
        studies: They, in the order in which they were named.
        differ: What they differ in of model, calibration set and metric: figures across these mean
            little.
    """

    studies: tuple[Compared, ...]
    differ: tuple[str, ...]

    @classmethod
    def of(cls, body: Body) -> Self:
        """The comparison in an answer."""
        return cls(tuple(map(Compared.of, body["studies"])), tuple(body["differ"]))


@dataclass(frozen=True)
class Token:
    """A token, without its secret.

    Attributes:
        id: By which it is revoked.
        name: What people call it.
        scope: read, launch or admin.
        created: When that was.
        expires: When it will be good for nothing; None: never.
        revoked: Since when it is; None: it is not.
    """

    id: int
    name: str
    scope: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    @classmethod
    def of(cls, body: Body) -> Self:
        """The token in an answer."""
        return _taken(cls, body)


@dataclass(frozen=True)
class NewToken(Token):
    """A token with its secret, which is never told again.

    Attributes:
        token: What is sent.
    """

    token: str = field(repr=False)


@dataclass(frozen=True)
class SampleSet:
    """A set of samples that was uploaded.

    Attributes:
        digest: Of its content.
        name: What people call it.
        samples: How many there are.
    """

    digest: str
    name: str
    samples: int | None

    @property
    def reference(self) -> str:
        """What a study file names it by."""
        return f"set:{self.digest}"

    @classmethod
    def of(cls, body: Body) -> Self:
        """The set in an answer."""
        return _taken(cls, body)


def trial_of(body: Body) -> Trial:
    """The trial in an answer."""
    state, complete = TrialState(body["state"]), body["state"] == TrialState.COMPLETE
    return _taken(
        Trial,
        body,
        schedule=_schedule(body["schedule"]),
        state=state,
        measurement=_taken(Measurement, body) if complete else None,
        expected=body["drop"] if state is TrialState.SCREENED else None,
    )


def _interval(body: Body | None, samples: int) -> Interval | None:
    return _taken(Interval, body, n=samples) if body else None


def _schedule(body: Body) -> Schedule:
    ranker = RankerSpec(body["ranker"], body["ranker_params"])
    return Schedule(tuple(body["keep"]), ranker)


def _progress(body: Body) -> Progress:
    workers = tuple(_taken(WorkerSeen, one) for one in body.get("workers") or ())
    return _taken(Progress, body, workers=workers)


def _taken(kind: type[T], body: Body, **made: Any) -> T:
    """A value of the fields that it knows; what a later service adds is left out."""
    given: dict[str, Any] = {}
    for one in fields(kind):  # type: ignore[arg-type]
        value = body.get(one.name)
        if isinstance(value, str) and "datetime" in str(one.type):
            value = datetime.fromisoformat(value)
        given[one.name] = value
    return kind(**(given | made))
