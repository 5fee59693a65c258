"""What every executor must do. A new executor joins with its line in EXECUTORS."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import DataError, RunError
from schedsearch.execution.executor import Executor, Outcome, Ticket
from schedsearch.execution.executors import EXECUTORS
from tests.unit.execution.synthetic import (
    IDS,
    LAYERS,
    Evaluate,
    FunctionWorker,
    Shuffled,
    evaluate,
    new_place,
    uninterrupted,
)


def of_functions(name: str, evaluate: Evaluate) -> Executor:
    """The executor of that name, whose workers are functions."""
    return EXECUTORS[name](partial(FunctionWorker, evaluate))


# Each makes an executor for a function that processes elsewhere can import, too.
MAKERS: dict[str, Callable[[Evaluate], Executor]] = {
    "shuffled": Shuffled,
    **{name: partial(of_functions, name) for name in EXECUTORS},
}

each_executor = pytest.mark.parametrize("make", MAKERS, indirect=True)


@pytest.fixture
def make(request):
    """Makes an executor whose workers are a function."""
    if request.param == "ray":
        return request.getfixturevalue("ray_pool").make
    return MAKERS[request.param]


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


def ticket(number: int, trial: int = 0) -> Ticket:
    return Ticket(trial, 1, number)


def outcomes(executor: Executor, tasks: Sequence[Task]) -> list[Outcome]:
    """Keep as many tasks at work as the executor wants."""
    waiting, found = list(enumerate(tasks)), []
    for returned in range(len(tasks)):
        while waiting and len(tasks) - len(waiting) - returned < executor.slots:
            number, task = waiting.pop(0)
            executor.submit(ticket(number), task)
        found.append(executor.next())
    return found


@each_executor
def test_every_task_is_returned_once_with_its_scores(make):
    found = outcomes(make(evaluate), TASKS)
    assert Counter(outcome.task for outcome in found) == Counter(TASKS)
    for outcome in found:
        assert outcome.task == TASKS[outcome.ticket.task]
        assert outcome == Outcome(outcome.ticket, outcome.task, tuple(evaluate(outcome.task)))


def timed(task: Task) -> Sequence[SampleScore]:
    """Scores with process, begin and end in place of answers."""
    began = time.time()
    time.sleep(0.01)
    told = f"{os.getpid()} {began} {time.time()}"
    return [SampleScore(name, 0.0, told) for name in task.sample_ids]


@each_executor
def test_it_is_told_who_was_at_a_task_and_when_without_the_time_in_a_line(make):
    executor = make(timed)
    for number, task in enumerate(TASKS):
        executor.submit(ticket(number), task)
    free: dict[str, float] = {}
    for outcome in sorted((executor.next() for _ in TASKS), key=lambda one: one.stint.began):
        pid, began, ended = outcome.scores[0].prediction.split()
        worker = outcome.stint.worker
        assert f"process {pid} on " in worker
        assert free.get(worker, 0.0) <= outcome.stint.began.timestamp() <= float(began)
        assert float(ended) <= outcome.stint.ended.timestamp()
        free[worker] = float(ended)


@each_executor
def test_tasks_may_be_submitted_all_at_once(make):
    executor = make(evaluate)
    for number, task in enumerate(TASKS):
        executor.submit(ticket(number), task)
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
    assert found[0].scores == found[1].scores
    assert {outcome.ticket for outcome in found} == {ticket(0), ticket(1)}


@each_executor
def test_failure_says_why_and_leaves_other_tasks_alone(make):
    executor = make(fails_on_q1)
    found = {outcome.task: outcome for outcome in outcomes(executor, TASKS)}
    assert set(found) == set(TASKS)
    for task, outcome in found.items():
        if "q1" in task.sample_ids:
            assert outcome == Outcome(outcome.ticket, task, failure="sample q1 has no image")
        else:
            assert outcome == Outcome(outcome.ticket, task, tuple(evaluate(task)))


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
    executor.cancel([ticket(0)])
    (outcome,) = outcomes(executor, [task_of("q2")])
    assert outcome.scores


@pytest.mark.parametrize("make", list(EXECUTORS), indirect=True)
def test_each_question_is_answered_in_its_place(make):
    executor = make(evaluate)
    tasks = [task_of("q1"), task_of("q2"), task_of("q3")]
    found = list(executor.ask_each("evaluate", [(task,) for task in tasks]))
    assert [[one.sample_id for one in answer.scores] for answer in found] == [
        ["q1"],
        ["q2"],
        ["q3"],
    ]


@pytest.mark.parametrize("make", list(EXECUTORS), indirect=True)
def test_what_one_question_of_several_raises_comes_through(make):
    executor = make(defective_on_q1)
    with pytest.raises(ZeroDivisionError):
        list(executor.ask_each("evaluate", [(task_of("q2"),), (task_of("q1"),)]))
    (outcome,) = outcomes(executor, [task_of("q2")])
    assert outcome.scores


@each_executor
def test_of_cancelled_tasks_those_at_work_alone_may_be_returned(make):
    executor = make(evaluate)
    given = [ticket(number) for number in range(len(TASKS) - 1)]
    for one, task in zip(given, TASKS, strict=False):
        executor.submit(one, task)
    returned = {executor.next().ticket}
    executor.cancel(given)
    executor.cancel(given)
    executor.submit(ticket(99), TASKS[-1])
    while (outcome := executor.next()).ticket != ticket(99):
        returned.add(outcome.ticket)
    assert len(returned) <= executor.slots + 1
    assert outcome.task == TASKS[-1]


@each_executor
def test_cancelling_one_trial_leaves_another_alone(make):
    executor = make(evaluate)
    for number, task in enumerate(TASKS):
        executor.submit(ticket(number, trial=number % 2), task)
    executor.cancel([ticket(number, 1) for number in range(1, len(TASKS), 2)])
    kept = {ticket(number, 0) for number in range(0, len(TASKS), 2)}
    found: set[Ticket] = set()
    while not kept <= found:
        found.add(executor.next().ticket)
    assert len(found - kept) <= executor.slots


@each_executor
def test_workers_can_be_let_go_whatever_they_are_at_and_twice(make):
    for submitted, returned in ((0, 0), (1, 1), (3, 1)):
        executor = make(evaluate)
        for number in range(submitted):
            executor.submit(ticket(number), TASKS[number])
        for _ in range(returned):
            assert executor.next().scores
        executor.close()
        executor.close()


@each_executor
def test_there_is_work_for_at_least_one_task(make):
    assert make(evaluate).slots >= 1


@each_executor
def test_a_search_finds_what_it_finds_in_one_process(make, tmp_path):
    place = new_place(tmp_path)
    assert place.search(executor=make).ending == "finished"
    assert place.trials() == uninterrupted()
