"""Scores of a schedule: from the store where it knows them, from the executor where not."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import RunError
from schedsearch.execution.executor import Executor, Outcome
from schedsearch.execution.subject import Subject
from schedsearch.store.evaluations import Evaluation
from schedsearch.store.store import Store

OnScores = Callable[[int, int], None]
"""Called with different samples that have a score, and different samples in all."""


class EvaluationError(RunError):
    """A schedule could not be evaluated; everything else works."""


class Scoring:
    """Evaluates schedules on one subject; never the same sample and counts twice.

    Args:
        study: The study that the evaluations are kept for.
        subject: What is evaluated.
        store: Knows and keeps scores.
        executor: Finds those that are missing.
        chunk: Samples in a task; what is lost when a worker dies.
    """

    def __init__(
        self, study: str, subject: Subject, store: Store, executor: Executor, chunk: int = 256
    ) -> None:
        self.subject = subject
        self.evaluated = 0
        self._study = study
        self._store = store
        self._executor = executor
        self._chunk = chunk

    def scores(
        self, schedule: Schedule, on_scores: OnScores = lambda _done, _all: None
    ) -> list[SampleScore]:
        """Score of every sample, in calibration order.

        Each task's scores are stored when they arrive, so that whatever happens later costs at
        most the tasks in flight.

        Raises:
            EvaluationError: The schedule does not fit, an evaluation failed, or a score is not
                finite; scores of other tasks are stored.
        """
        subject = self.subject
        if schedule.layers != subject.shape.layers:
            raise EvaluationError(
                f"`keep` must have one ratio for each of {subject.shape.layers} decoder layers, "
                f"but got {schedule.layers}; use a schedule that was made for this model"
            )
        keys = dict(zip(subject.ids, subject.evaluation_keys(schedule), strict=True))
        # Samples of equal content stand for each other.
        first = {key: name for name, key in reversed(keys.items())}
        context = self._store.context_id(
            self._study, subject.context_digest(schedule), subject.context_of(schedule)
        )
        known = self._store.scores(context, first)
        on_scores(len(known), len(first))
        missing = [name for name, key in keys.items() if first[key] == name and key not in known]
        for scores in self._run(schedule, missing):
            found = {keys[one.sample_id]: Evaluation(one.score, one.prediction) for one in scores}
            self._store.add_scores(context, found)
            known |= found
            self.evaluated += len(found)
            on_scores(len(known), len(first))
        return [
            SampleScore(name, known[key].score, known[key].prediction) for name, key in keys.items()
        ]

    def _run(self, schedule: Schedule, missing: Sequence[str]) -> Iterator[tuple[SampleScore, ...]]:
        """Yield the scores of one task after the other, as they arrive."""
        executor, size = self._executor, self._chunk
        tasks = [
            Task(schedule, self.subject.split, tuple(missing[start : start + size]))
            for start in range(0, len(missing), size)
        ]
        waiting = iter(tasks)
        flying = 0
        try:
            for _ in tasks:
                while flying < executor.slots and (task := next(waiting, None)) is not None:
                    executor.submit(task)
                    flying += 1
                outcome = executor.next()
                flying -= 1
                yield _checked(outcome)
        finally:
            executor.cancel()


def _checked(outcome: Outcome) -> tuple[SampleScore, ...]:
    """Return the scores, if they are what the task asked for."""
    if outcome.failure:
        raise EvaluationError(outcome.failure)
    got = [one.sample_id for one in outcome.scores]
    for sample, asked in zip_longest(got, outcome.task.sample_ids):
        if sample != asked:
            raise EvaluationError(
                f"an evaluation must return one score per sample in the order of the task, but "
                f"got {sample!r} where {asked!r} was asked; correct the evaluator"
            )
    for one in outcome.scores:
        if not math.isfinite(one.score):
            raise EvaluationError(
                f"the metric must be finite, but got {one.score} on sample {one.sample_id}; "
                f"correct the metric or leave the sample out"
            )
    return outcome.scores
