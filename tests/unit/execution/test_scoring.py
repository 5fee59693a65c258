from collections.abc import Iterator

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.errors import RunError
from schedsearch.execution.executor import Executor
from schedsearch.execution.inquiry import EvaluationError
from schedsearch.execution.scoring import Scoring
from schedsearch.store import Store
from tests.unit.execution.synthetic import (
    CONTENT,
    DIFFERENT,
    FULL,
    IDS,
    STUDY,
    SUBJECT,
    Place,
    Shuffled,
    evaluate,
    spec,
)

HALF = Schedule((1.0, 1.0, 1.0, 0.5, 0.5, 0.5))
WHOLE = Task(HALF, "calibration", IDS)


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with Place(tmp_path).store() as opened:
        opened.create_study(spec())
        yield opened


class Listed:
    """Evaluates, remembers the tasks, and fails on one of the samples."""

    def __init__(self, bad: str = "") -> None:
        self.tasks: list[Task] = []
        self.bad = bad

    def __call__(self, task: Task):
        self.tasks.append(task)
        if self.bad in task.sample_ids:
            raise RunError("no memory")
        return evaluate(task)


def scoring(store: Store, executor: Executor, chunk: int = 1) -> Scoring:
    return Scoring(STUDY, SUBJECT, store, executor, chunk)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_in_calibration_order_whichever_task_is_ready_first(store, seed):
    scores = scoring(store, Shuffled(Listed(), seed=seed)).scores(HALF)
    # Samples of equal content have equal scores: noise belongs to the content.
    assert scores == evaluate(WHOLE)


@pytest.mark.parametrize(("slots", "chunk", "most"), [(1, 1, 1), (3, 1, 3), (50, 3, 3)])
def test_as_many_tasks_are_ahead_as_the_executor_wants(store, slots, chunk, most):
    executor = Shuffled(evaluate, slots)
    scoring(store, executor, chunk).scores(HALF)
    assert executor.most == most


@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
def test_tasks_are_in_calibration_order_and_as_large_as_they_may_be(store, chunk):
    listed = Listed()
    scoring(store, Shuffled(listed, slots=1), chunk).scores(HALF)

    first_of_content = [IDS[CONTENT.index(content)] for content in dict.fromkeys(CONTENT)]
    asked = [name for task in listed.tasks for name in task.sample_ids]
    assert asked == first_of_content
    parts = {IDS.index(task.sample_ids[0]) // chunk: task for task in listed.tasks}
    assert len(parts) == len(listed.tasks)
    for number, task in parts.items():
        part = IDS[number * chunk : (number + 1) * chunk]
        assert task.sample_ids == tuple(name for name in part if name in first_of_content)
    assert all((task.schedule, task.split) == (HALF, "calibration") for task in listed.tasks)


def test_known_scores_need_no_executor(store):
    first = scoring(store, Shuffled(evaluate)).scores(HALF)
    listed = Listed()
    again = scoring(store, Shuffled(listed))

    assert again.scores(HALF) == first
    assert (again.evaluated, listed.tasks) == (0, [])


def test_evaluated_counts_what_was_not_known(store):
    counting = scoring(store, Shuffled(evaluate))
    counting.scores(FULL)
    assert counting.evaluated == DIFFERENT
    counting.scores(HALF)
    assert counting.evaluated == 2 * DIFFERENT
    counting.scores(HALF)
    assert counting.evaluated == 2 * DIFFERENT


def test_failure_keeps_what_arrived_before_it_and_forgets_what_is_under_way(store):
    listed = Listed("q4")
    failing = scoring(store, executor := Shuffled(listed))
    with pytest.raises(EvaluationError, match="^no memory$"):
        failing.scores(HALF)
    whole = [task for task in listed.tasks if "q4" not in task.sample_ids]
    arrived = [name for task in whole for name in task.sample_ids]
    assert failing.evaluated == len(arrived)

    listed.bad, listed.tasks = "", []
    # The same executor answers other questions first: nothing of the old ones comes back.
    assert scoring(store, executor).scores(FULL) == evaluate(Task(FULL, "calibration", IDS))
    listed.tasks = []
    assert failing.scores(HALF) == evaluate(WHOLE)
    asked = {name for task in listed.tasks for name in task.sample_ids}
    assert asked.isdisjoint(arrived)
    assert len(asked) + len(arrived) == DIFFERENT


def test_progress_goes_from_what_is_known_to_all(store):
    listed = Listed("q6")
    with pytest.raises(EvaluationError):
        scoring(store, Shuffled(listed, slots=1), 3).scores(HALF)

    listed.bad, shown = "", []
    scoring(store, Shuffled(listed, slots=1), 3).scores(HALF, lambda *seen: shown.append(seen))
    assert shown == [(6, DIFFERENT), (8, DIFFERENT)]
    scoring(store, Shuffled(listed), 3).scores(HALF, lambda *seen: shown.append(seen))
    assert shown[2:] == [(8, DIFFERENT)]


def test_progress_that_raises_leaves_nothing_under_way(store):
    def stop(done, _all):
        if done:
            raise ZeroDivisionError

    executor = Shuffled(evaluate)
    with pytest.raises(ZeroDivisionError):
        scoring(store, executor).scores(HALF, stop)

    assert scoring(store, executor).scores(FULL) == evaluate(Task(FULL, "calibration", IDS))


@pytest.mark.parametrize("layers", [5, 7])
def test_schedule_of_another_depth_is_refused_before_anything_is_evaluated(store, layers):
    listed = Listed()
    with pytest.raises(EvaluationError, match=f"each of 6 decoder layers, but got {layers}; use"):
        scoring(store, Shuffled(listed)).scores(Schedule.full(layers))
    assert listed.tasks == []
