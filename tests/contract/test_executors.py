"""What every executor must do. A new executor joins with one line in EXECUTORS."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import DataError, RunError
from schedsearch.execution.executor import Evaluate, Executor, LocalExecutor, Outcome
from tests.unit.execution.synthetic import IDS, LAYERS, Shuffled, evaluate

# Each makes an executor for a function that processes elsewhere can import, too.
EXECUTORS: dict[str, Callable[[Evaluate], Executor]] = {
    "local": LocalExecutor,
    "shuffled": Shuffled,
}

each_executor = pytest.mark.parametrize("make", EXECUTORS.values(), ids=EXECUTORS)


def task_of(*ids: str, keep: float = 0.5) -> Task:
    return Task(Schedule((1.0, 1.0) + (keep,) * (LAYERS - 2)), "calibration", ids)


TASKS = tuple(task_of(*IDS[start:], keep=keep) for start in range(4) for keep in (0.5, 0.25))


def fails_on_q1(task: Task) -> Sequence[SampleScore]:
    if "q1" in task.sample_ids:
        raise DataError("sample q1 has no image")
    return evaluate(task)


def fails_without_a_word(_task: Task) -> Sequence[SampleScore]:
    raise RunError


def defective_on_q1(task: Task) -> Sequence[SampleScore]:
    if "q1" in task.sample_ids:
        raise ZeroDivisionError
    return evaluate(task)


def outcomes(executor: Executor, tasks: Sequence[Task]) -> list[Outcome]:
    """Keep as many tasks at work as the executor wants."""
    waiting, found = list(tasks), []
    for returned in range(len(tasks)):
        while waiting and len(tasks) - len(waiting) - returned < executor.slots:
            executor.submit(waiting.pop(0))
        found.append(executor.next())
    return found


@each_executor
def test_every_task_is_returned_once_with_its_scores(make):
    found = outcomes(make(evaluate), TASKS)
    assert Counter(outcome.task for outcome in found) == Counter(TASKS)
    for outcome in found:
        assert outcome == Outcome(outcome.task, tuple(evaluate(outcome.task)))


@each_executor
def test_tasks_may_be_submitted_all_at_once(make):
    executor = make(evaluate)
    for task in TASKS:
        executor.submit(task)
    assert {executor.next().task for _ in TASKS} == set(TASKS)


@each_executor
def test_scores_come_in_the_order_of_the_task(make):
    backwards = task_of(*reversed(IDS))
    (outcome,) = outcomes(make(evaluate), [backwards])
    assert tuple(one.sample_id for one in outcome.scores) == backwards.sample_ids


@each_executor
def test_task_that_is_submitted_twice_is_evaluated_twice(make):
    found = outcomes(make(evaluate), [TASKS[0], TASKS[0]])
    assert [outcome.task for outcome in found] == [TASKS[0], TASKS[0]]
    assert found[0] == found[1]


@each_executor
def test_failure_says_why_and_leaves_other_tasks_alone(make):
    executor = make(fails_on_q1)
    found = {outcome.task: outcome for outcome in outcomes(executor, TASKS)}
    assert set(found) == set(TASKS)
    for task, outcome in found.items():
        if "q1" in task.sample_ids:
            assert outcome == Outcome(task, failure="sample q1 has no image")
        else:
            assert outcome == Outcome(task, tuple(evaluate(task)))


@each_executor
def test_failure_without_a_word_is_a_failure_all_the_same(make):
    (outcome,) = outcomes(make(fails_without_a_word), TASKS[:1])
    assert outcome.failure
    assert not outcome.scores


@each_executor
def test_defect_comes_through_and_the_executor_remains_usable(make):
    executor = make(defective_on_q1)
    with pytest.raises(ZeroDivisionError):
        outcomes(executor, [task_of("q1")])
    executor.cancel()
    (outcome,) = outcomes(executor, [task_of("q2")])
    assert outcome.scores


@each_executor
def test_cancelled_tasks_are_never_returned(make):
    executor = make(evaluate)
    for task in TASKS[:-1]:
        executor.submit(task)
    executor.next()
    executor.cancel()
    executor.cancel()
    executor.submit(TASKS[-1])
    assert executor.next().task == TASKS[-1]


@each_executor
def test_there_is_work_for_at_least_one_task(make):
    assert make(evaluate).slots >= 1
