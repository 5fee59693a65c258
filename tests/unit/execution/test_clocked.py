"""Workers whose time is counted, not spent."""

from dataclasses import replace
from functools import partial

import pytest

from schedsearch.core.stint import by_worker
from schedsearch.core.trial import Task, Work
from schedsearch.execution.clocked import ClockedExecutor
from schedsearch.execution.executor import Ticket
from tests.unit.execution.synthetic import (
    FULL,
    IDS,
    SEARCH,
    STUDY,
    FunctionWorker,
    evaluate,
    new_place,
    uninterrupted,
)


def clocked(inner, workers, seconds):
    """Workers that take so long for a task; whoever asks them takes no time."""
    return ClockedExecutor(
        lambda: FunctionWorker(inner), workers, lambda _name, task, _work: seconds(task), lambda: 0
    )


def tasks(number):
    return [
        (Ticket(0, 1, place), Task(FULL, "calibration", (IDS[place],))) for place in range(number)
    ]


def ends(pool, submitted):
    """Number of each task and when it has ended, in that order."""
    for ticket, task in submitted:
        pool.submit(ticket, task)
    return [(pool.next().ticket.task, pool.now) for _ in submitted]


def test_one_worker_takes_the_time_of_all_tasks_one_after_the_other():
    pool = clocked(evaluate, 1, lambda task: 2.0 + IDS.index(task.sample_ids[0]))
    assert ends(pool, tasks(3)) == [(0, 2.0), (1, 5.0), (2, 9.0)]


def test_two_workers_take_tasks_at_once_and_the_shorter_one_is_ready_first():
    pool = clocked(evaluate, 2, lambda task: 5.0 - IDS.index(task.sample_ids[0]))
    assert ends(pool, tasks(3)) == [(1, 4.0), (0, 5.0), (2, 7.0)]


def test_what_is_cancelled_before_it_has_begun_takes_no_time():
    pool = clocked(evaluate, 1, lambda _task: 1.0)
    submitted = tasks(3)
    for ticket, task in submitted:
        pool.submit(ticket, task)
    pool.cancel([submitted[1][0]])
    assert [pool.next().ticket.task for _ in range(2)] == [0, 2]
    assert pool.now == 2.0


def test_the_time_of_whoever_asks_counts_and_that_of_the_answers_does_not():
    time = [0.0]

    def slow(task):
        time[0] += 100.0
        return evaluate(task)

    pool = ClockedExecutor(
        lambda: FunctionWorker(slow), 1, lambda _name, _task, _work: 1.0, lambda: time[0]
    )
    first, second = tasks(2)
    pool.submit(*first)
    pool.next()
    time[0] += 3.0
    pool.submit(*second)
    pool.next()
    assert pool.now == 1.0 + 3.0 + 1.0


def test_seconds_are_asked_by_worker_task_and_work():
    asked = []
    pool = ClockedExecutor(
        lambda: FunctionWorker(evaluate, lambda: Work(7)),
        1,
        lambda *given: asked.append(given) or 1.0,
        lambda: 0,
    )
    ends(pool, tasks(1))
    assert asked == [("worker 0", tasks(1)[0][1], Work())]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_finds_what_it_finds_with_real_workers(tmp_path, workers):
    place = new_place(tmp_path)
    pool = partial(clocked, workers=workers, seconds=lambda _task: 1.0)
    assert place.search(executor=pool).ending == "finished"
    assert place.trials() == uninterrupted()


class Noting(ClockedExecutor):
    """Notes whose each answer is, until the trial is closed."""

    def __init__(self, *options):
        super().__init__(*options)
        self.noted = {}
        self.closed = set()

    def next(self):
        outcome = super().next()
        if outcome.ticket.trial not in self.closed:
            of_first = max(0, outcome.ticket.trial)  # keep-all is measured before the first
            self.noted.setdefault(of_first, []).append(outcome.stint)
        return outcome


@pytest.mark.parametrize(("workers", "questions"), [(1, 1), (3, 1), (3, 3)])
def test_a_search_stores_who_worked_for_each_attempt_and_when(tmp_path, workers, questions):
    place, made = new_place(tmp_path), []

    def noting(inner):
        worker = partial(FunctionWorker, inner)
        made.append(Noting(worker, workers, lambda name, _task, _work: 1.0 + int(name[-1])))
        return made[0]

    sampler = replace(SEARCH, concurrent_trials=questions)
    place.search(
        sampler,
        chunk=3,
        executor=noting,
        on_trial=[lambda trial: made[0].closed.add(trial.number)],
    )
    with place.store() as store:
        found = {
            number: attempt.workers
            for number, attempt in store.last_attempts(STUDY).items()
            if attempt.workers
        }
    assert found == {number: by_worker(stints) for number, stints in made[0].noted.items()}
    assert len({one.worker for stints in found.values() for one in stints}) == workers
    if questions == 1:
        for worker in {one.worker for one in found[0]}:
            own = [one for trial in found.values() for one in trial if one.worker == worker]
            assert all(a.ended <= b.began for a, b in zip(own, own[1:], strict=False))
