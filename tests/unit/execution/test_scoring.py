from collections.abc import Iterator
from dataclasses import replace

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task, TrialState
from schedsearch.errors import RunError
from schedsearch.execution.executor import Executor
from schedsearch.execution.heartbeat import Heartbeat
from schedsearch.execution.inquiry import EvaluationError
from schedsearch.execution.loop import run_study
from schedsearch.execution.measuring import Measuring
from schedsearch.execution.scoring import Scoring
from schedsearch.store import Store
from tests.unit.execution.synthetic import (
    CONTENT,
    DIFFERENT,
    FULL,
    IDS,
    SEARCH,
    STUDY,
    SUBJECT,
    Place,
    Shuffled,
    evaluate,
    spec,
)

HALF = Schedule((1.0, 1.0, 1.0, 0.5, 0.5, 0.5))
ODD = Schedule((1.0, 0.9, 0.8, 0.7, 0.6, 0.5))
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


class Stubborn(Shuffled):
    """Ends what it has begun, the oldest first, as a worker on Ray does."""

    def next(self):
        self._flying.sort(key=lambda flying: flying[0].task)
        self._local.submit(*self._flying.pop(0))
        return self._local.next()

    def cancel(self, tickets):
        pass


def stopped(store: Store) -> Scoring:
    """With all tasks of a schedule at work that nobody asks for any more."""
    found = scoring(store, Stubborn(evaluate, slots=DIFFERENT))
    assert len(found.scores(ODD, stop=lambda _read: True)) == 1
    return found


def missing(store: Store) -> int:
    """How many tasks of that schedule are not known."""
    listed = Listed()
    scoring(store, Shuffled(listed)).scores(ODD)
    return len(listed.tasks)


def test_scores_of_tasks_that_were_given_up_are_stored(store):
    stopped(store).scores(FULL)
    assert missing(store) == 0


def test_scores_of_tasks_that_were_given_up_are_stored_by_a_search(store):
    scoring(store, Shuffled(evaluate)).scores(FULL)
    assert run_study(STUDY, SEARCH, stopped(store), store).ending == "finished"
    assert missing(store) == 0


def test_scores_that_others_have_given_up_are_passed_over(store):
    """They may be of another set."""
    left = stopped(store)
    other = scoring(store, left.executor)
    other.scores(FULL)
    assert other.evaluated == DIFFERENT
    assert missing(store) == DIFFERENT - 1


def test_heart_beats_while_what_earlier_trials_have_read_is_looked_up(store):
    run_study(STUDY, SEARCH, scoring(store, Shuffled(evaluate)), store)
    trials, beats = store.trials(STUDY), []
    again = scoring(store, Shuffled(evaluate))
    new = replace(trials[-1], number=len(trials), state=TrialState.WAITING, measurement=None)
    with again.beating(Heartbeat(lambda: beats.append(1), period=0.0)):
        Measuring(again, SEARCH, 1).begin(new, [*trials, new], None, lambda _done, _all: None)
    assert again.evaluated == 0
    assert len(beats) >= sum(trial.read > 0 for trial in trials) > 5
