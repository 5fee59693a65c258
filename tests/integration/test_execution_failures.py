"""Evaluators, disks and databases that fail: the reason is kept, and what was found stays."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event

from schedsearch.core.budget import Budget
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task, Trial, TrialState
from schedsearch.errors import DeviceError, InputError, RunError
from schedsearch.execution.loop import Limits
from schedsearch.samplers.random_search import RandomSearch
from tests.unit.execution.children import child, pipe, search_with_small_files
from tests.unit.execution.synthetic import (
    CHUNK,
    DIFFERENT,
    FULL,
    LAYERS,
    SEARCH,
    STUDY,
    SUBJECT,
    Evaluate,
    Place,
    evaluate,
    evaluations,
    new_place,
    uninterrupted,
)

GOES_ON = replace(SEARCH, on_failure="continue")
BAD = 5  # count of the first reduced layer in trial 3, which is accepted when it can be measured


@pytest.fixture
def place(tmp_path):
    return new_place(tmp_path)


def raising(error: Exception) -> Callable[[Task], list]:
    def fail(_task):
        raise error

    return fail


def with_score(score: float) -> Callable[[Task], list]:
    return lambda task: [replace(one, score=score) for one in evaluate(task)]


def wordy(task: Task) -> list:
    """Answers that need space."""
    return [replace(one, prediction="so it is " * 25) for one in evaluate(task)]


def without_last(task: Task) -> list:
    return evaluate(task)[:-1]


FAILURES = {
    "error": (raising(RunError("the GPU is on fire")), "the GPU is on fire"),
    "bad sample": (raising(InputError("sample q1 has no image")), "sample q1 has no image"),
    "nameless error": (raising(RunError()), "RunError"),
    "nan": (with_score(math.nan), "the metric must be finite, but got nan on sample q0"),
    "infinity": (with_score(-math.inf), "the metric must be finite, but got -inf on sample q0"),
    "missing sample": (without_last, "got None where 'q4' was asked; correct the evaluator"),
    "mixed up": (lambda task: evaluate(task)[::-1], "got 'q4' where 'q0' was asked"),
}

each_failure = pytest.mark.parametrize(("bad", "reason"), FAILURES.values(), ids=FAILURES)


def bad_where(suits: Callable[[Task], bool], bad: Evaluate) -> Evaluate:
    return lambda task: bad(task) if suits(task) else evaluate(task)


def bad_for(count: int, bad: Evaluate) -> Evaluate:
    """Fails where the first reduced layer, and every one below, keeps this many tokens."""
    schedule = Schedule.from_counts((6, 6, 6, *(count,) * 3), 6)
    return bad_where(lambda task: task.schedule == schedule, bad)


def summary(trials: list[Trial]) -> list[tuple]:
    return [(trial.schedule, trial.measurement) for trial in trials]


@each_failure
def test_failed_trial_keeps_its_reason_and_its_cause_removed_the_search_resumes(place, bad, reason):
    with pytest.raises(RunError) as raised:
        place.search(inner=bad_for(BAD, bad))

    *before, failed = place.trials()
    assert before == uninterrupted()[:3]
    assert (failed.state, failed.measurement) == (TrialState.FAIL, None)
    assert reason in failed.reason
    assert str(raised.value) == (
        f"trial 3 failed: {failed.reason}; remove the cause and run again, what was found so far "
        f"is stored"
    )
    with place.store() as store:
        assert [attempt.reason for attempt in store.attempts(STUDY, 3)] == [failed.reason]
        assert store.studies()[0].holder is None

    assert place.search().ending == "finished"
    trials = place.trials()
    assert [trial.number for trial in trials] == list(range(len(uninterrupted()) + 1))
    assert trials.pop(3) == failed
    assert summary(trials) == summary(uninterrupted())


@each_failure
def test_search_that_continues_takes_a_failed_trial_as_rejected(place, bad, reason):
    run = place.search(sampler=GOES_ON, inner=bad_for(BAD, bad), stop_on_failure=False)

    assert run.ending == "finished"
    trials = place.trials()
    assert [trial.number for trial in trials if trial.state is TrialState.FAIL] == [3]
    assert reason in trials[3].reason
    # The layer that could have kept 5 of 6 keeps all of them.
    assert uninterrupted()[3].schedule.counts(6)[3] == BAD
    assert run.best.schedule.counts(6)[3] == BAD + 1
    assert run.best.measurement.drop <= SEARCH.tolerance


def test_keep_all_that_fails_ends_also_a_search_that_continues(place):
    fire = raising(RunError("the GPU is on fire"))
    with pytest.raises(RunError, match="keep-all could not be measured: the GPU is on fire"):
        place.search(sampler=GOES_ON, inner=fire, stop_on_failure=False)

    assert [trial.state for trial in place.trials()] == [TrialState.FAIL]


def test_scores_of_the_tasks_before_the_failing_one_are_not_evaluated_again(place):
    def second_task(task: Task) -> bool:
        return task.schedule == FULL and "q0" not in task.sample_ids

    with pytest.raises(RunError, match="trial 0 failed"):
        place.search(inner=bad_where(second_task, raising(RunError("no memory"))))
    first = place.evaluated

    place.search()

    again = place.evaluated[len(first) :]
    failed_task = [line.content for line in first[CHUNK:]]
    assert [line.content for line in again[: len(failed_task)]] == failed_task
    assert len(again) == evaluations(place.trials()) - CHUNK


def test_enqueued_schedule_of_another_model_fails_alone(place):
    other = Schedule((1.0,) * (LAYERS - 1))
    with pytest.raises(RunError, match="trial 0 failed: `keep` must have one ratio for each of 6"):
        place.search(before=lambda store: store.enqueue(STUDY, other))

    assert place.search().ending == "finished"
    assert summary(place.trials()[1:]) == summary(uninterrupted())


@pytest.mark.parametrize("where", ["evaluation", "on_trial", "on_moment"])
def test_defect_comes_through_and_the_trial_waits_again(place, where):
    def defect(*_args):
        raise ZeroDivisionError("1 / 0")

    options = {
        "evaluation": {"inner": bad_for(BAD, defect)},
        "on_trial": {"on_trial": [lambda trial: defect() if trial.number == 3 else None]},
        "on_moment": {"on_moment": lambda shown: defect() if shown.trial.number == 3 else None},
    }
    with pytest.raises(ZeroDivisionError):
        place.search(**options[where])

    done = 4 if where == "on_trial" else 3
    states = [trial.state for trial in place.trials()]
    assert states == [*[TrialState.COMPLETE] * done, *[TrialState.WAITING] * (4 - done)]
    with place.store() as store:
        reason = "" if where == "on_trial" else "ZeroDivisionError('1 / 0')"
        assert [attempt.reason for attempt in store.attempts(STUDY, 3)] == [reason]
        assert store.studies()[0].holder is None
    assert place.search().ending == "finished"
    assert place.trials() == uninterrupted()


def test_device_that_fails_says_so_and_its_trial_waits(place):
    error = DeviceError.of("CUDA error: unspecified launch failure")
    with pytest.raises(DeviceError, match="the device has failed .*; what was stored before is"):
        place.search(sampler=GOES_ON, inner=bad_for(BAD, raising(error)), stop_on_failure=False)

    states = [trial.state for trial in place.trials()]
    assert states == [*[TrialState.COMPLETE] * 3, TrialState.WAITING]
    with place.store() as store:
        assert "unspecified launch failure" in store.attempts(STUDY, 3)[0].reason
    assert place.search().ending == "finished"
    assert place.trials() == uninterrupted()


def test_device_that_fails_with_keep_all_leaves_the_first_trial_waiting(place):
    with pytest.raises(DeviceError):
        place.search(inner=raising(DeviceError.of("CUDA error: device not ready")))
    assert [trial.state for trial in place.trials()] == [TrialState.WAITING]


@contextmanager
def on_connect(pragma: str) -> Iterator[None]:
    """Databases that are opened meanwhile get a setting."""

    def configure(connection, _record) -> None:
        connection.execute(pragma)

    event.listen(Engine, "connect", configure)
    try:
        yield
    finally:
        event.remove(Engine, "connect", configure)


def assert_nothing_lost(place: Place, repeated: int) -> None:
    assert place.trials() == uninterrupted()
    assert len(place.evaluated) <= len(uninterrupted()) * DIFFERENT + repeated
    with place.store() as store:
        assert store.check().problems == ()


def test_search_resumes_when_a_full_disk_has_space_again(tmp_path):
    page = 4096
    ended = []
    for more in itertools.count():
        place = new_place(tmp_path / f"{more}")
        size = place.database.stat().st_size // page
        try:
            with on_connect(f"PRAGMA max_page_count={size + more}"):
                place.search(inner=wordy)
            break
        except RunError as error:
            assert "no space is left for" in str(error)
        ended.append(len(place.trials()))

        assert place.search(inner=wordy).ending == "finished"
        assert_nothing_lost(place, CHUNK)
    assert len(set(ended)) > 2, "the disk must fill at different places"


@pytest.mark.parametrize("limit", range(20_000, 200_000, 15_000))
def test_search_resumes_when_the_log_of_the_database_may_grow_again(place, limit):
    told, answer = pipe()
    with child(search_with_small_files, place, answer, limit) as process:
        process.join()
        end = told.recv()
    assert "runs.db failed (disk I/O error); what was stored before is safe" in end
    assert end.startswith("RunError: ")

    assert place.search().ending == "finished"
    assert_nothing_lost(place, CHUNK)


def test_search_resumes_when_a_read_only_database_is_writable_again(place):
    place.search(limits=Limits(trials=3))
    stored = place.trials()
    with (
        on_connect("PRAGMA query_only=ON"),
        pytest.raises(InputError, match=r"runs\.db cannot be written .*give the right to write"),
    ):
        place.search()

    assert place.trials() == stored
    assert place.search().ending == "finished"
    assert_nothing_lost(place, 0)


def test_full_model_that_cannot_be_evaluated_ends_a_search_under_a_budget_at_once(place):
    sampler = RandomSearch(
        family=Sigmoid(first=1),
        budget=Budget("flops", 0.7),
        shape=SUBJECT.shape,
        tokens=SUBJECT.tokens,
        trials=4,
    )

    def full(task: Task) -> bool:
        return task.schedule == FULL

    with pytest.raises(RunError, match="keep-all cannot be evaluated: no memory"):
        place.search(sampler=sampler, inner=bad_where(full, raising(RunError("no memory"))))
    assert [trial.state for trial in place.trials()] == [TrialState.WAITING]

    assert place.search(sampler=sampler).closed == 4
