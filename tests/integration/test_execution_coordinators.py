"""Several processes that want to coordinate one study."""

import os
import re
import signal
import socket
from contextlib import ExitStack

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError, RunError
from schedsearch.store.lease import LeaseLostError
from tests.unit.execution.children import (
    PATIENCE,
    Halting,
    child,
    pipe,
    search_and_tell,
    wait_for,
)
from tests.unit.execution.synthetic import FULL, STUDY, Place, evaluate, new_place, uninterrupted

MIDDLE = 8  # a task of the fourth trial


@pytest.fixture
def place(tmp_path):
    return new_place(tmp_path)


def halted_search(place: Place, started: ExitStack, go: str = "go"):
    """A process that has halted in the middle of the search, and where it tells its end."""
    told, answer = pipe()
    options = {"inner": Halting(MIDDLE, place.folder, go)}
    process = started.enter_context(child(search_and_tell, place, answer, options))
    answer.close()
    wait_for(place.folder / f"reached-{process.pid}")
    return process, told


def ending(told) -> str:
    assert told.poll(PATIENCE), "no end was told"
    return told.recv()


def test_second_coordinator_is_refused_with_the_name_of_the_first(place):
    with ExitStack() as started:
        first, told = halted_search(place, started)
        before = place.trials()

        with pytest.raises(
            RunError,
            match=rf"study `{STUDY}` is being searched by process {first.pid} on "
            rf"{re.escape(socket.gethostname())} since .*; wait until it has ended, or end it",
        ):
            place.search()

        assert place.trials() == before
        (place.folder / "go").touch()
        assert ending(told) == "finished"
        assert place.trials() == uninterrupted()


def test_second_coordinator_takes_over_when_the_first_is_killed(place):
    with ExitStack() as started:
        first, _ = halted_search(place, started)
        first.kill()
        first.join()

        assert place.search().ending == "finished"

    assert place.trials() == uninterrupted()


def test_of_many_that_start_at_once_one_coordinates(place):
    with ExitStack() as started:
        answers = []
        for _ in range(4):
            told, answer = pipe()
            # The winner halts in its first task, so that it is there as long as the others try.
            options = {"inner": Halting(1, place.folder)}
            started.enter_context(child(search_and_tell, place, answer, options))
            answers.append(told)
        losers = []
        while len(losers) < 3:
            losers += [one for one in answers if one not in losers and one.poll(0.01)]
        (winner,) = set(answers) - set(losers)

        refusals = [ending(one) for one in losers]
        (place.folder / "go").touch()
        assert ending(winner) == "finished"

    assert all(text.startswith(f"RunError: study `{STUDY}` is being") for text in refusals)
    assert place.trials() == uninterrupted()


def test_coordinator_that_was_paused_too_long_cannot_write_any_more(place):
    with ExitStack() as started:
        stale, told = halted_search(place, started)
        os.kill(stale.pid, signal.SIGSTOP)
        with place.store() as store:
            assert store.free(STUDY).pid == stale.pid
        place.search()
        assert place.trials() == uninterrupted()
        with place.store() as store:
            attempts = [store.attempts(STUDY, trial.number) for trial in uninterrupted()]

        (place.folder / "go").touch()
        os.kill(stale.pid, signal.SIGCONT)

        assert ending(told).startswith("LeaseLostError: this process has lost the lease of study")
        with place.store() as store:
            assert store.trials(STUDY) == uninterrupted()
            assert [store.attempts(STUDY, trial.number) for trial in uninterrupted()] == attempts
            assert store.check().problems == ()


def test_coordinator_that_lost_its_lease_does_not_end_the_run_of_the_next(place):
    with ExitStack() as started:
        stale, told_stale = halted_search(place, started)
        os.kill(stale.pid, signal.SIGSTOP)
        with place.store() as store:
            store.free(STUDY)
        _, told_current = halted_search(place, started, "second")
        (place.folder / "go").touch()
        os.kill(stale.pid, signal.SIGCONT)
        assert "has lost the lease" in ending(told_stale)

        (place.folder / "second").touch()
        assert ending(told_current) == "finished"

    assert place.trials() == uninterrupted()


def test_study_that_is_deleted_between_two_trials_is_named(place):
    def delete(_trial):
        with place.store() as other:
            other.free(STUDY)
            other.prune([STUDY])

    with pytest.raises(InputError, match=f"there is no study `{STUDY}`"):
        place.search(on_trial=[delete])


def test_schedule_enqueued_while_another_process_searches_is_answered_too(place):
    schedule = Schedule((1.0, 0.9, 0.8, 0.7, 0.6, 0.5))
    with ExitStack() as started:
        _, told = halted_search(place, started)
        with place.store() as store:
            known = store.enqueue(STUDY, FULL)
            new = store.enqueue(STUDY, schedule)
        (place.folder / "go").touch()
        assert ending(told) == "finished"

    trials = place.trials()
    assert (known.number, new.schedule) == (0, schedule)
    assert trials[new.number].measurement is not None
    others = [trial for trial in trials if trial.number != new.number]
    assert [trial.measurement for trial in others] == [
        trial.measurement for trial in uninterrupted()
    ]


def test_study_that_is_deleted_while_it_is_searched_ends_with_one_message(place):
    def deleted(task):
        with place.store() as store:
            if len(store.trials(STUDY)) > 3:
                store.free(STUDY)
                store.prune([STUDY])
        return evaluate(task)

    with pytest.raises(LeaseLostError, match="has been deleted while this process worked on it"):
        place.search(inner=deleted)
