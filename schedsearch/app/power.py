"""What numbers of samples can tell apart and prove, planned from how often scores change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from schedsearch.app.bootstrap import DataRef, Progress, model_place
from schedsearch.app.sample_size import changes_of, span_of
from schedsearch.app.study_view import StudyView
from schedsearch.app.worker import WorkerSpec
from schedsearch.core.budget import Budget
from schedsearch.core.certificate import ALPHA
from schedsearch.core.families.linear import Linear
from schedsearch.core.power import Changes, needed, provable, resolution, resolving
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Measurement, SampleScore, Task
from schedsearch.errors import InputError, RunError
from schedsearch.evaluation.metrics import make_metric
from schedsearch.execution.executor import Executor, evaluated
from schedsearch.execution.executors.local import LocalExecutor

_TOLERANCES = (0.005, 0.01, 0.02, 0.05)
_SIZES = (100, 300, 1000, 3000, 10_000)
_SHARES = (0.75, 0.5, 0.25)
_FIRST = 2
_CHUNK = 64


@dataclass(frozen=True)
class Seen:
    """A schedule against the full model on the same samples.

    Attributes:
        name: What it is.
        flops_ratio: Of it.
        changes: How much scores differ.
    """

    name: str
    flops_ratio: float
    changes: Changes

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the drop."""
        return resolution(self.changes).half_width

    @property
    def loses(self) -> bool:
        """Whether these samples show that it loses anything."""
        return self.changes.drop > self.half_width


@dataclass(frozen=True)
class AtSize:
    """What so many samples can do.

    Attributes:
        n: Samples.
        detectable: Least drop that they tell from 0 with probability .8.
        provable: Least tolerance that they prove with probability .8 for a schedule that loses
            nothing; None where the metric has no bounds.
    """

    n: int
    detectable: float
    provable: float | None


@dataclass(frozen=True)
class AtTolerance:
    """How many samples a tolerance takes.

    Attributes:
        tolerance: In units of the metric.
        detects: Samples that tell a drop of that size from 0 with probability .8.
        proves: Samples that prove it with probability .8 for a schedule that loses nothing; None
            where the metric has no bounds.
    """

    tolerance: float
    detects: int
    proves: int | None


@dataclass(frozen=True)
class Power:
    """What `schedsearch analyze --power` reports.

    Attributes:
        of: Model and data, or study.
        metric: Its name.
        alpha: Probability that a proof is wrong.
        seen: The schedules looked at.
        basis: The one that the plans are made from: the cheapest that is not shown to lose.
        sizes: What numbers of samples can do.
        tolerances: What tolerances take.
    """

    of: str
    metric: str
    alpha: float
    seen: tuple[Seen, ...]
    basis: Seen
    sizes: tuple[AtSize, ...]
    tolerances: tuple[AtTolerance, ...]

    @classmethod
    def planned(cls, of: str, metric: str, seen: Sequence[Seen]) -> Self:
        """Return the plans from schedules of which the first is the mildest."""
        kind = [one for one in seen if not one.loses] or seen[:1]
        basis = min(kind, key=lambda one: one.flops_ratio)
        found = basis.changes
        proves = found.flips() is not None or found.unit > 0
        sizes = [
            AtSize(
                n, resolution(found, n).detectable, provable(found, n, ALPHA) if proves else None
            )
            for n in _SIZES
        ]
        tolerances = [
            AtTolerance(t, resolving(found, t), needed(found, t, ALPHA) if proves else None)
            for t in _TOLERANCES
        ]
        return cls(of, metric, ALPHA, tuple(seen), basis, tuple(sizes), tuple(tolerances))


def power_of_study(view: StudyView) -> Power:
    """Plans from the result of a study.

    Raises:
        InputError: It has no result yet, or one that removes nothing.
    """
    best, metric = view.best_trial, view.spec.metric
    assert best.measurement is not None
    changes = changes_of(best.measurement, span_of(metric))
    if changes is None or min(best.schedule.keep) == 1:
        raise InputError(
            f"study `{view.name}` has no reduced schedule measured on several samples; search on"
        )
    seen = Seen(f"trial {best.number}", best.measurement.flops_ratio, changes)
    return Power.planned(f"study {view.name}", metric, [seen])


def power_of_model(
    model_name: str,
    data: DataRef,
    *,
    metric: str = "exact_match",
    ranker: str = "last",
    progress: Progress,
    **loading: Any,
) -> Power:
    """Plans from straight lines over depth at three budgets.

    Args:
        model_name: `demo`, a hub id or a folder.
        data: What to measure on.
        metric: Name of the metric.
        ranker: Orders the tokens.
        progress: Starts a progress bar by name.
        **loading: Passed on to `load_model`.

    Raises:
        InputError: Model or data cannot be used, or a name is unknown.
        RunError: A schedule cannot be evaluated.
    """
    model_place(model_name)
    spec = WorkerSpec(model_name, make_metric(metric), data, loading=loading)
    workers = LocalExecutor(spec.open)
    subject: Subject = workers.ask("subject")
    family, ordering = Linear(_FIRST), RankerSpec(ranker)
    budgets = [Budget("feasible", share) for share in _SHARES]
    schedules = [
        family.schedule({"fall": 1.0}, budget, subject.shape, subject.tokens, ordering)
        for budget in budgets
    ]
    full, *others = _scores(workers, subject, [subject.full, *schedules], progress("schedules"))
    seen = []
    for schedule, scores in zip(schedules, others, strict=True):
        costs = subject.costs(schedule)
        changes = changes_of(Measurement.of(scores, *costs, full), subject.span)
        if changes is None:
            raise InputError("what samples tell apart needs at least 2 of them; raise `--limit`")
        seen.append(Seen(f"line at FLOPs ratio {costs[0]:.2f}", costs[0], changes))
    return Power.planned(f"{model_name} on {subject.name}", metric, seen)


def _scores(
    workers: Executor, subject: Subject, schedules: Sequence[Schedule], on_progress: Any
) -> list[list[SampleScore]]:
    parts = [subject.ids[start : start + _CHUNK] for start in range(0, len(subject.ids), _CHUNK)]
    tasks = [Task(schedule, subject.split, part) for schedule in schedules for part in parts]
    found = evaluated(workers, tasks, on_progress)
    failure = next((one.failure for one in found if one.failure), "")
    if failure:
        raise RunError(failure)
    size = len(parts)
    rows = [found[start : start + size] for start in range(0, len(found), size)]
    return [[score for one in row for score in one.scores] for row in rows]
