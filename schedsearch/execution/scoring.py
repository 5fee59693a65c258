"""Scores of a schedule: from the store where it knows them, from the executor where not."""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, Task, Work
from schedsearch.errors import RunError
from schedsearch.execution.executor import Executor, Outcome
from schedsearch.execution.heartbeat import Heartbeat
from schedsearch.execution.subject import Subject
from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.rescue import Scored
from schedsearch.store.store import Store

_HELD = 100_000
"""Scores that are kept at hand for a store that gets lost: some 25 MB."""

OnScores = Callable[[int, int], None]
"""Called with different samples that have a score, and different samples that are asked."""

Stop = Callable[[Sequence[SampleScore]], bool]
"""Called with the scores of the samples read; says whether the others decide nothing."""


class EvaluationError(RunError):
    """A schedule could not be evaluated; everything else works."""


class Scoring:
    """Evaluates schedules on one subject; the same sample and counts twice only `again`.

    Args:
        study: The study that the evaluations are kept for.
        subject: What is evaluated.
        store: Knows and keeps scores.
        executor: Finds those that are missing.
        chunk: Most samples in a task; what is lost when a worker dies.
        cuts: Numbers of samples behind which a task always ends, so that the same samples share a
            task whether some or all are asked: a worker finds what it kept for them.

    Attributes:
        evaluated: Samples that were really evaluated, not found in the store.
        work: What that has cost.
    """

    def __init__(
        self,
        study: str,
        subject: Subject,
        store: Store,
        executor: Executor,
        chunk: int = 64,
        cuts: Sequence[int] = (),
    ) -> None:
        self.subject = subject
        self.evaluated = 0
        self.work = Work()
        self._study = study
        self._store = store
        self._executor = executor
        self._chunk = chunk
        self._cuts = tuple(cuts)
        self._heartbeat = Heartbeat(store.check_present)
        self._contexts: dict[str, Mapping[str, Any]] = {}
        self._held: OrderedDict[tuple[str, EvaluationKey], Evaluation] = OrderedDict()

    @property
    def held(self) -> list[Scored]:
        """The latest scores, by context."""
        found: dict[str, dict[EvaluationKey, Evaluation]] = {one: {} for one in self._contexts}
        for (digest, key), evaluation in self._held.items():
            found[digest][key] = evaluation
        return [Scored(one, self._contexts[one], scores) for one, scores in found.items()]

    def scores(
        self,
        schedule: Schedule,
        on_scores: OnScores = lambda _done, _all: None,
        *,
        ids: Sequence[str] | None = None,
        again: Collection[str] = (),
        shared: int = 0,
        behind: int = 0,
        stop: Stop | None = None,
    ) -> list[SampleScore]:
        """Score of every sample that is asked, in the order of the question.

        Each task's scores are stored when they arrive, so that whatever happens later costs at
        most the tasks in flight. Scores are read in the order of the question, known ones
        included, so where an evaluation stops depends on the scores alone.

        Args:
            schedule: What is evaluated.
            on_scores: Called when there is progress.
            ids: Samples that are asked, in the order in which they are read; default: all, in
                calibration order.
            again: Samples that are evaluated although they are known, where another one of their
                task is not: the task keeps its samples, and a worker what it has for them.
            shared: As in `Task`.
            behind: Leading samples behind which a task ends too, and the cuts are counted.
            stop: Asked after every task, and once all that is asked is known.

        Returns:
            Fewer scores than asked where `stop` has ended it.

        Raises:
            EvaluationError: The schedule does not fit, an evaluation failed, or a score is not
                finite or above the metric's bound; scores of other tasks are stored.
        """
        subject = self.subject
        if schedule.layers != subject.shape.layers:
            raise EvaluationError(
                f"`keep` must have one ratio for each of {subject.shape.layers} decoder layers, "
                f"but got {schedule.layers}; use a schedule that was made for this model"
            )
        names, asked = (subject.ids, len(subject.ids)) if ids is None else (ids, len(ids))
        every = dict(zip(subject.ids, subject.evaluation_keys(schedule), strict=True))
        keys = {name: every[name] for name in names}
        # Samples of equal content stand for each other.
        first = {key: name for name, key in reversed(keys.items())}
        digest, description = subject.context_digest(schedule), subject.context_of(schedule)
        self._contexts[digest] = description
        context = self._store.context_id(self._study, digest, description)
        known = self._store.scores(context, first)
        self._hold(digest, known)
        on_scores(len(known), len(first))
        ends = _borders(len(subject.ids), self._chunk, [behind, *(behind + c for c in self._cuts)])
        borders = [border for border in ends if border < asked] + [asked]
        parts = [names[start:end] for start, end in zip([0, *borders], borders, strict=False)]
        missing = [
            tuple(n for n in part if first[keys[n]] == n and keys[n] not in known) for part in parts
        ]
        missing = [
            tuple(n for n in part if n in rest or (n in again and first[keys[n]] == n))
            if rest
            else ()
            for part, rest in zip(parts, missing, strict=True)
        ]
        tasks = [Task(schedule, subject.split, part, shared) for part in missing if part]
        arriving = self._run(tasks)
        defects: dict[tuple[str, ...], str] = {}
        result: list[SampleScore] = []
        for border, part in zip(borders, missing, strict=True):
            while part and part not in defects:
                outcome = next(arriving)
                ids = outcome.task.sample_ids
                defects[ids] = self._defect(outcome)
                if not defects[ids]:
                    found = {keys[one.sample_id]: _evaluation(one) for one in outcome.scores}
                    self._hold(digest, found)
                    self._store.add_scores(context, found)
                    known = found | known  # of two scores the first stays, as in the store
                    self.evaluated += len(found)
                    on_scores(len(known), len(first))
            if defects.get(part):
                raise EvaluationError(defects[part])
            result += [
                SampleScore(name, known[keys[name]].score, known[keys[name]].prediction)
                for name in names[len(result) : border]
            ]
            if stop is not None and stop(result):
                break
        arriving.close()
        return result

    def _run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield what becomes of the tasks, as they arrive."""
        executor = self._executor
        waiting = iter(tasks)
        flying = 0
        try:
            for _ in tasks:
                while flying < executor.slots and (task := next(waiting, None)) is not None:
                    executor.submit(task)
                    flying += 1
                with self._heartbeat.at_work():
                    outcome = executor.next()
                flying -= 1
                self.work += outcome.work
                yield outcome
        finally:
            executor.cancel()

    def _hold(self, digest: str, found: Mapping[EvaluationKey, Evaluation]) -> None:
        for key, evaluation in found.items():
            self._held.setdefault((digest, key), evaluation)  # the first stays, as in the store
        while len(self._held) > _HELD:
            self._held.popitem(last=False)

    def _defect(self, outcome: Outcome) -> str:
        """Return why the scores are not what the task asked for; empty where they are."""
        if outcome.failure:
            return outcome.failure
        got = [one.sample_id for one in outcome.scores]
        for sample, asked in zip_longest(got, outcome.task.sample_ids):
            if sample != asked:
                return (
                    f"an evaluation must return one score per sample in the order of the task, but "
                    f"got {sample!r} where {asked!r} was asked; correct the evaluator"
                )
        for one in outcome.scores:
            if not math.isfinite(one.score):
                return (
                    f"the metric must be finite, but got {one.score} on sample {one.sample_id}; "
                    f"correct the metric or leave the sample out"
                )
            if one.score > self.subject.greatest:
                return (
                    f"no score of this metric may be above {self.subject.greatest:g}, but got "
                    f"{one.score} on sample {one.sample_id}; correct the metric or its bound"
                )
        return ""


def _evaluation(score: SampleScore) -> Evaluation:
    return Evaluation(score.score, score.prediction)


def _borders(n: int, chunk: int, cuts: Sequence[int]) -> list[int]:
    """Ends of the tasks: every cut, and what lies between in parts of `chunk`."""
    ends = sorted({cut for cut in cuts if 0 < cut < n} | {n})
    spans = zip([0, *ends], ends, strict=False)
    return [border for start, end in spans for border in (*range(start + chunk, end, chunk), end)]
