"""The search that faults happen to: G-Search on a model that errs, tiny, in a real store."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from schedsearch.core.facts import Facts
from schedsearch.core.schedule import Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import SampleScore, Task
from schedsearch.execution.executor import Executor, Outcome
from schedsearch.execution.inquiry import Inquiry
from schedsearch.execution.loop import Run, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.greedy import GSearch
from schedsearch.store import open_store
from schedsearch.store.evaluations import Evaluation, EvaluationKey
from tests.chaos.points import Point, freezing
from tests.chaos.witness import Witness
from tests.unit.execution.synthetic import STUDY, Evaluate, Shuffled, spec

BENCH = Path(__file__).parents[2] / "bench"
LAYERS, N_MAX, SAMPLES, CHUNK = 4, 5, 20, 8
PATIENCE = 60.0

several = partial(Shuffled, slots=3, seed=1)
"""Several tasks are at work, of several trials."""


@cache
def erring() -> Any:
    """A model that is right on 12 of 20 samples; removing tokens lets it gain 2 and toss for 1.

    With this seed trials end complete, screened and pruned, and each layer settles elsewhere.
    """
    sys.path.insert(0, str(BENCH))
    try:
        made = importlib.import_module("erring").Erring
    finally:
        sys.path.remove(str(BENCH))
    return made(LAYERS, N_MAX, SAMPLES, full_score=0.6, kind="noise", seed=4, reuse=False)


def subject() -> Subject:
    found: Subject = erring().subject
    return found


def study() -> StudySpec:
    return replace(spec(), facts=Facts.of(subject().shape, subject().tokens))


@cache
def sampler() -> GSearch:
    return GSearch(
        layers=LAYERS,
        n_max=N_MAX,
        n_visions=subject().n_visions,
        tolerance=0.03,
        screens=(6,),
        concurrent_trials=2,
    )


class Watched:
    """What a worker evaluates by: the model, with a line in the log for every task.

    Args:
        witness: The log.
        in_task: Called in each task.
    """

    def __init__(self, witness: Witness, in_task: Callable[[Task], None]) -> None:
        self.witness = witness
        self._in_task = in_task
        self._run = os.getpid()

    def __call__(self, task: Task) -> Sequence[SampleScore]:
        self.witness.say_evaluated(self._run, task)
        self._in_task(task)
        scores: Sequence[SampleScore] = erring().evaluate(task).scores
        return scores


class WatchedScoring(Scoring):
    """Says what is asked again, and what has been stored once the store has said so."""

    def __init__(self, witness: Witness, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._witness = witness

    def inquiry(self, schedule: Schedule, *args: Any, **named: Any) -> Inquiry:
        self._witness.say_again(schedule, named.get("again", ()))
        return super().inquiry(schedule, *args, **named)

    def receive(self, outcome: Outcome) -> tuple[str, Mapping[EvaluationKey, Evaluation]]:
        found = super().receive(outcome)
        if not found[0]:
            self._witness.say_stored(outcome.task, outcome.scores)
        return found


@dataclass(frozen=True)
class Search:
    """What a coordinator is started with.

    Attributes:
        store: Path or URL.
        witness: The log.
    """

    store: str
    witness: Witness

    def search(
        self,
        point: Point | None = None,
        executor: Callable[[Evaluate], Executor] = several,
    ) -> Run:
        """Search as a new process would, and freeze at a point.

        Args:
            point: Where.
            executor: Evaluates.
        """
        with (
            freezing(self.witness, point) as in_task,
            open_store(self.store, patience=PATIENCE) as store,
        ):
            store.create_study(study())
            worker = Watched(self.witness, in_task)
            scoring = WatchedScoring(
                self.witness, STUDY, subject(), store, executor(worker), CHUNK, sampler().screens
            )
            closed = [self.witness.say_closed]
            return run_study(STUDY, sampler(), scoring, store, on_trial=closed)
