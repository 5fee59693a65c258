"""Runs that end early: by a limit, by a callback, by Ctrl-C. The next run goes on."""

import itertools
import os
import signal

import pytest

from schedsearch.core.trial import TrialState
from schedsearch.execution.loop import Limits, StopStudy, run_study
from schedsearch.execution.scoring import Scoring
from tests.pace import some
from tests.unit.execution.children import (
    PATIENCE,
    Halting,
    at_commits,
    child,
    pipe,
    search_and_tell,
    wait_for,
)
from tests.unit.execution.synthetic import (
    CHUNK,
    DIFFERENT,
    SEARCH,
    STUDY,
    SUBJECT,
    Place,
    evaluate,
    evaluations,
    local,
    new_place,
    spec,
    uninterrupted,
)

COMPLETE, WAITING = TrialState.COMPLETE, TrialState.WAITING


@pytest.fixture
def place(tmp_path):
    return new_place(tmp_path)


def states(place: Place) -> list[TrialState]:
    return [trial.state for trial in place.trials()]


def assert_ready_for_the_next_run(place: Place) -> None:
    with place.store() as store:
        assert store.studies()[0].holder is None
        assert (store.check().problems, store.check().notes) == ((), ())


def assert_next_run_finishes(place: Place) -> None:
    assert_ready_for_the_next_run(place)
    assert place.search().ending == "finished"
    assert place.trials() == uninterrupted()


def test_finished_run_tells_what_it_did(place):
    run = place.search()
    trials = place.trials()
    assert (run.ending, run.closed) == ("finished", len(trials))
    assert run.evaluated == len(place.evaluated) == evaluations(trials)
    assert run.best in trials
    assert run.seconds > 0
    assert_ready_for_the_next_run(place)


def test_finished_search_that_runs_again_does_nothing(place):
    first = place.search()
    again = place.search()
    assert (again.ending, again.best) == ("finished", first.best)
    assert (again.closed, again.evaluated) == (0, 0)
    assert place.trials() == uninterrupted()


def test_each_run_counts_its_own_evaluations(place):
    with place.store() as store:
        store.create_study(spec())
        scoring = Scoring(STUDY, SUBJECT, store, local(evaluate))
        for _ in range(2):
            run = run_study(STUDY, SEARCH, scoring, store, limits=Limits(trials=2))
            assert (run.closed, run.evaluated) == (2, 2 * DIFFERENT)


@pytest.mark.parametrize("trials", [0, 1, 5])
def test_run_closes_at_most_as_many_trials_as_it_may(place, trials):
    run = place.search(limits=Limits(trials=trials))
    assert (run.ending, run.closed) == ("trials", trials)
    assert run.evaluated == trials * DIFFERENT
    assert states(place) == [*[COMPLETE] * trials, WAITING]
    assert_next_run_finishes(place)


def test_limit_that_the_search_just_fits_in_does_not_cut_it(place):
    run = place.search(limits=Limits(trials=len(uninterrupted())))
    assert run.ending == "finished"


def test_run_begins_no_trial_after_its_time(place):
    run = place.search(limits=Limits(seconds=0))
    assert (run.ending, run.closed, run.best) == ("timeout", 0, None)
    assert states(place) == [WAITING]

    run = place.search(limits=Limits(seconds=1e-9))
    assert (run.ending, run.closed) == ("timeout", 0)

    assert_next_run_finishes(place)


def test_trial_that_began_in_time_is_completed(place, monkeypatch):
    clock = 0.0

    def slow(task):
        nonlocal clock
        clock += 10
        return evaluate(task)

    monkeypatch.setattr("schedsearch.execution.loop.time.monotonic", lambda: clock)
    run = place.search(inner=slow, limits=Limits(seconds=50))

    assert (run.ending, run.closed, run.seconds) == ("timeout", 3, 60)
    assert_next_run_finishes(place)


def test_callback_sees_every_closed_trial_and_may_stop_the_run(place):
    seen = []

    def stop_at_third(trial):
        seen.append(trial)
        if len(seen) == 3:
            raise StopStudy

    run = place.search(on_trial=[stop_at_third])

    assert (run.ending, run.closed) == ("stopped", 3)
    assert seen == place.trials() == uninterrupted()[:3]
    assert_next_run_finishes(place)


def test_callbacks_are_called_in_their_order(place):
    calls = []
    place.search(
        on_trial=[
            lambda trial: calls.append(("a", trial)),
            lambda trial: calls.append(("b", trial)),
        ]
    )
    assert calls == [(name, trial) for trial in place.trials() for name in "ab"]


def test_progress_display_may_stop_a_run_within_a_trial(place):
    def stop(moment):
        if (moment.trial.number, moment.done) == (2, CHUNK):
            raise StopStudy

    run = place.search(on_moment=stop)

    assert (run.ending, run.closed) == ("stopped", 2)
    assert states(place) == [COMPLETE, COMPLETE, WAITING]
    assert run.evaluated == 2 * DIFFERENT + CHUNK
    assert_next_run_finishes(place)
    assert len(place.evaluated) == evaluations(uninterrupted())


def test_interrupt_abandons_the_task_at_work_only(place):
    calls = itertools.count(1)

    def interrupt_in_sixth_task(task):
        if next(calls) == 6:
            raise KeyboardInterrupt
        return evaluate(task)

    run = place.search(inner=interrupt_in_sixth_task)

    assert (run.ending, run.closed) == ("interrupted", 2)
    assert run.evaluated == 2 * DIFFERENT + CHUNK
    assert run.best == uninterrupted()[0]
    assert states(place) == [COMPLETE, COMPLETE, WAITING]
    with place.store() as store:
        assert [attempt.reason for attempt in store.attempts(STUDY, 2)] == ["interrupted"]
    assert_next_run_finishes(place)


def test_ctrl_c_ends_a_process_in_order(place):
    told, answer = pipe()
    options = {"inner": Halting(8, place.folder)}
    with child(search_and_tell, place, answer, options) as process:
        wait_for(place.folder / f"reached-{process.pid}")
        os.kill(process.pid, signal.SIGINT)
        assert told.poll(PATIENCE)
        assert told.recv() == "interrupted"
        process.join()
        assert process.exitcode == 0

    assert states(place) == [COMPLETE, COMPLETE, COMPLETE, WAITING]
    assert_next_run_finishes(place)


@pytest.mark.parametrize("when", some(["before", "after"], ["before"]))
def test_interrupt_at_any_commit_of_a_trial_loses_nothing(tmp_path, when):
    numbers, whole = [], new_place(tmp_path / "whole")
    with at_commits(lambda _when, number: numbers.append(number)):
        whole.search(limits=Limits(trials=2))

    # Study and lease come first, the end of the lease last.
    for number in range(3, max(numbers)):
        place = new_place(tmp_path / f"{number}")

        def interrupt(*moment, at=(when, number)):
            if moment == at:
                raise KeyboardInterrupt

        with at_commits(interrupt):
            assert place.search(limits=Limits(trials=2)).ending == "interrupted"
        with place.store() as store:
            assert store.check().problems == ()
            assert store.studies()[0].holder is None
        complete = states(place).count(COMPLETE)

        place.search(limits=Limits(trials=2 - complete))
        assert place.trials()[:2] == uninterrupted()[:2]
        assert len(place.evaluated) <= 2 * DIFFERENT + CHUNK


def test_ctrl_c_within_a_transaction_waits_for_its_end(place):
    def interrupt(when, _number):
        if when == "before":
            signal.raise_signal(signal.SIGINT)

    with place.store() as store:
        with at_commits(interrupt), pytest.raises(KeyboardInterrupt):
            store.create_study(spec())
        assert store.study(STUDY).spec == spec()
