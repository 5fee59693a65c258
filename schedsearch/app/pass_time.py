"""What a full pass over the calibration set takes: given, or measured on some of its samples."""

import time
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from schedsearch.app.stand_in import span
from schedsearch.app.study import Study
from schedsearch.core.reading import OnProgress
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Evaluated, Task, Work
from schedsearch.errors import RunError
from schedsearch.execution.executor import evaluated

_SAMPLES = 128
"""That are timed: two tasks."""

_WARM, _CHUNK = 8, 64

_SCORE = 0.9
"""Share of the samples that a full model is taken to answer where it has not been asked."""


@dataclass(frozen=True)
class PassTime:
    """What evaluations take on one worker.

    Attributes:
        seconds: Of a full pass over the calibration set.
        by_flops: Seconds of it that go with the FLOPs; the others go with the samples.
        first: Seconds more, the first time that a worker has the samples.
        full_score: Share of the samples that the full model answers.
        reuses: Whether workers go on from layers that they have kept.
        samples: On how many it was measured; 0 where it was given.
    """

    seconds: float
    by_flops: float
    first: float
    full_score: float
    reuses: bool
    samples: int


def given(seconds: float) -> PassTime:
    """A time that somebody knows, of a machine that is not at hand; nothing is evaluated."""
    return PassTime(seconds, seconds, 0.0, _SCORE, True, 0)


def measured(study: Study, on_progress: OnProgress) -> PassTime:
    """Time full and reduced passes over some calibration samples.

    The same samples are scored by the full model, which reads and embeds their images; by it again;
    with tokens removed; and so once more from what is kept for reuse. All but the first are timed
    twice, and the faster counts: others may use the machine too.

    Raises:
        RunError: The model cannot be evaluated.
    """
    subject, n = study.subject, min(_SAMPLES, len(study.subject.ids))
    layers = subject.shape.layers
    first = min(max(1, study.asking.first), layers - 1)
    keep = (1.0,) * first + (0.25,) * (layers - first)
    cut = Schedule(keep, study.spec.ranker, target=subject.target)
    ids = subject.ids[:n]
    # What is loaded or compiled once, on the samples that come last.
    _timed(study, cut, subject.ids[-_WARM:])
    turns = ((subject.full, 0, 1), (subject.full, 0, 2), (cut, 0, 2), (cut, layers - 1, 3))
    timed = []
    for number, (schedule, shared, times) in enumerate(turns):
        on_progress(number, len(turns))
        runs = [_timed(study, schedule, ids, shared) for _ in range(times)]
        timed.append(min(runs[-2:], key=lambda one: one.seconds))
    on_progress(len(turns), len(turns))
    high, low = span(subject)
    scores = fmean(one.score for done in timed[0].found for one in done.scores)
    per_sample, per_flop = fitted([(n, one.work.flops, one.seconds) for one in timed[1:]])
    share = n / len(subject.ids)
    by_flops = per_flop * timed[1].work.flops / share
    return PassTime(
        seconds=per_sample * len(subject.ids) + by_flops,
        by_flops=by_flops,
        first=max(0.0, timed[0].seconds - timed[1].seconds) / share,
        full_score=min(1.0, max(0.0, (scores - low) / (high - low))),
        reuses=timed[3].work.flops < timed[2].work.flops,
        samples=n,
    )


@dataclass
class Speed:
    """Seconds that tasks take, by what a pass takes.

    Args:
        pass_time: That.
        full: FLOPs of a full pass.
        samples: In it.
    """

    pass_time: PassTime
    full: int
    samples: int
    _seen: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def __call__(self, worker: str, task: Task, work: Work) -> float:
        """Seconds of a task, more if its worker has it for the first time."""
        batch = worker, task.sample_ids
        new = 0 if batch in self._seen else len(task.sample_ids)
        self._seen.add(batch)
        return self.of(work.flops / self.full, len(task.sample_ids), new)

    def of(self, passes: float, samples: int, new: int) -> float:
        """Seconds of an amount of work.

        Args:
            passes: In full passes.
            samples: That are scored, each as many times as it is.
            new: Those of them that a worker has for the first time.
        """
        time = self.pass_time
        each = (time.seconds - time.by_flops) / self.samples
        return passes * time.by_flops + samples * each + new * time.first / self.samples


@dataclass(frozen=True)
class _Timed:
    found: list[Evaluated]
    seconds: float

    @property
    def work(self) -> Work:
        return sum((one.work for one in self.found), Work())


def _timed(study: Study, schedule: Schedule, ids: tuple[str, ...], shared: int = 0) -> _Timed:
    split = study.subject.split
    parts = [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
    began = time.perf_counter()
    found = evaluated(study.executor, [Task(schedule, split, part, shared) for part in parts])
    seconds = time.perf_counter() - began
    for one in found:
        if one.failure:
            raise RunError(
                f"the model cannot be evaluated: {one.failure}; a search would fail as well: "
                "remove the cause"
            )
    return _Timed(found, seconds)


def fitted(timed: list[tuple[int, int, float]]) -> tuple[float, float]:
    """Seconds a sample and seconds a FLOP, neither below 0, that fit best."""
    samples, flops, seconds = (np.array(one, dtype=float) for one in zip(*timed, strict=True))
    if not flops.any():
        return float(seconds.sum() / samples.sum()), 0.0
    table = np.column_stack([samples / samples.max(), flops / flops.max()])
    (a, b), *_ = np.linalg.lstsq(table, seconds, rcond=None)
    if b <= 0:
        return float(seconds.mean() / samples[0]), 0.0
    if a <= 0:
        return 0.0, float(seconds.sum() / flops.sum())
    return float(a / samples.max()), float(b / flops.max())
