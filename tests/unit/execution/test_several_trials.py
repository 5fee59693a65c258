"""Several trials at work: sooner done, and the same search whatever is ready first."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import Budget
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.trial import TrialState, Work
from schedsearch.errors import DataError, RunError
from schedsearch.execution import inquiry
from schedsearch.execution.loop import Limits, StopStudy
from schedsearch.samplers.random_search import RandomSearch
from tests.pace import examples
from tests.unit.execution.synthetic import (
    FULL,
    IDS,
    SEARCH,
    STUDY,
    SUBJECT,
    Clocked,
    Place,
    Shuffled,
    evaluate,
    new_place,
)

BOUNDED = replace(SUBJECT, greatest=1.05, full_pass=Work(flops=1000))
RANDOM = RandomSearch(
    family=Sigmoid(),
    budget=Budget("feasible", 0.5),
    shape=SUBJECT.shape,
    tokens=SUBJECT.tokens,
    trials=12,
)
G_SEARCHES = (
    SEARCH,
    replace(SEARCH, method="gallop", screens=(4,)),
    replace(SEARCH, method="scan", max_passes=2),
)
WAITING = TrialState.WAITING


def history(sampler, executor, **options):
    # So that also the few samples here are divided among workers.
    with TemporaryDirectory() as folder, patch.object(inquiry, "LEAST_TASK", 1):
        place = new_place(Path(folder))
        run = place.search(sampler, subject=BOUNDED, chunk=3, executor=executor, **options)
        assert run.ending == "finished"
        return place.trials()


@examples(25)
@given(
    search=st.sampled_from([*G_SEARCHES, RANDOM]),
    questions=st.integers(1, 4),
    slots=st.sampled_from([1, 2, 4, 9]),
    seed=st.integers(0, 2**16),
)
def test_every_trial_is_the_same_with_any_number_of_slots_in_any_order(
    search, questions, slots, seed
):
    sampler = replace(search, concurrent_trials=questions)
    alone = history(sampler, partial(Shuffled, slots=1))
    assert history(sampler, partial(Shuffled, slots=slots, seed=seed)) == alone


def seconds(slots: int, questions: int, chunk: int) -> float:
    with TemporaryDirectory() as folder:
        made = []

        def clocked(inner):
            made.append(Clocked(inner, slots, lambda task: float(len(task.sample_ids))))
            return made[0]

        sampler = replace(RANDOM, concurrent_trials=questions, trials=40)
        new_place(Path(folder)).search(sampler, chunk=chunk, executor=clocked)
        return made[0].now


@pytest.mark.parametrize("chunk", [3, len(IDS)])
def test_two_trials_at_work_on_two_slots_take_at_most_six_tenths_of_the_time(chunk):
    assert seconds(2, 2, chunk) <= 0.6 * seconds(1, 1, chunk)


def test_tasks_of_one_trial_spread_over_all_slots():
    assert seconds(2, 1, 3) <= 0.75 * seconds(1, 1, 3)
    assert seconds(2, 1, len(IDS)) == seconds(1, 1, len(IDS))


def test_at_most_as_many_trials_are_at_work_as_the_sampler_asks_at_once(tmp_path):
    place, most = new_place(tmp_path), 0

    def watched(task):
        nonlocal most
        running = [trial for trial in place.trials() if trial.state is TrialState.RUNNING]
        most = max(most, len(running))
        return evaluate(task)

    place.search(
        replace(RANDOM, concurrent_trials=3), watched, executor=partial(Shuffled, slots=20)
    )
    assert most == 3


def test_a_stop_lets_all_trials_at_work_wait_and_the_next_run_ends_alike(tmp_path):
    sampler = replace(RANDOM, concurrent_trials=3)
    several = partial(Shuffled, slots=4)
    expected = history(sampler, several)
    place, closed = new_place(tmp_path), []

    def stop(trial):
        closed.append(trial.number)
        raise StopStudy

    options = {"subject": BOUNDED, "chunk": 3, "executor": several}
    run = place.search(sampler, on_trial=[stop], **options)
    assert (run.ending, run.closed) == ("stopped", 1)
    assert [one.state for one in place.trials() if one.number not in closed] == [WAITING] * 2
    assert place.search(sampler, **options).ending == "finished"
    assert place.trials() == expected


def test_a_failed_trial_stops_the_run_and_the_others_wait(tmp_path):
    place = new_place(tmp_path)

    def fails(task):
        if task.schedule != SUBJECT.full:
            raise DataError("no such image")
        return evaluate(task)

    with pytest.raises(RunError, match="failed: no such image; remove the cause"):
        place.search(
            replace(RANDOM, concurrent_trials=3), fails, executor=partial(Shuffled, slots=4)
        )
    states = [trial.state for trial in place.trials()]
    assert states.count(TrialState.FAIL) == 1
    assert set(states) == {TrialState.FAIL, WAITING}


def test_limit_counts_the_trials_at_work(tmp_path):
    place = new_place(tmp_path)
    sampler = replace(RANDOM, concurrent_trials=4)
    options = {"executor": partial(Shuffled, slots=9), "limits": Limits(trials=2)}
    run = place.search(sampler, **options)
    assert (run.ending, run.closed) == ("trials", 2)
    finished = [trial for trial in place.trials() if trial.state.finished]
    assert len(finished) == 2


def test_scores_that_come_after_the_verdict_are_kept(tmp_path):
    place = Place(tmp_path)
    sampler = replace(SEARCH, concurrent_trials=2)
    run = place.search(sampler, subject=BOUNDED, chunk=1, executor=partial(Shuffled, slots=6))
    assert any(trial.state is TrialState.PRUNED for trial in place.trials())
    with place.store() as store:
        assert (
            store.check().rows["evaluation"]
            == run.evaluated
            == len({line[2:] for line in place.evaluated})
        )
        assert store.check().problems == ()


class Interrupted:
    """A sampler while whose thinking somebody enqueues a schedule."""

    def __init__(self, inner, place):
        self._inner, self._place = inner, place

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def ask(self, history):
        asked = self._inner.ask(history)
        if len(history) == 4:
            with self._place.store() as store:
                store.enqueue(STUDY, FULL)
        return asked


def test_schedule_that_is_enqueued_while_the_sampler_thinks_has_its_turn(tmp_path):
    place = new_place(tmp_path)
    place.search(Interrupted(replace(RANDOM, concurrent_trials=4), place))
    trials = place.trials()
    assert [trial.schedule for trial in trials].index(FULL) == 4
    assert len(trials) == RANDOM.trials + 1
    assert all(trial.state.finished for trial in trials)
