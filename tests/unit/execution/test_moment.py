import math
from dataclasses import replace

import pytest

from schedsearch.core.trial import Trial
from schedsearch.execution.loop import Limits
from schedsearch.execution.moment import Moment
from schedsearch.samplers.sampler import Status
from tests.unit.execution.synthetic import (
    DIFFERENT,
    FULL,
    SEARCH,
    STUDY,
    Place,
    uninterrupted,
)

AT_WORK = Moment(
    status=Status("pass 1", asked=4, rounds_left=3),
    trial=Trial(3, {}, FULL),
    done=30,
    samples=40,
    closed=3,
    evaluated=100,
    trials_left=5,
    best=None,
    seconds=60.0,
)


def test_time_left_is_what_the_trials_left_take_at_the_present_pace():
    assert AT_WORK.seconds_left == pytest.approx((5 - 30 / 40) * 60 / 3)


@pytest.mark.parametrize("unknown", [{"closed": 0}, {"trials_left": None}])
def test_time_left_is_unknown_without_a_pace_or_an_end(unknown):
    assert replace(AT_WORK, **unknown).seconds_left is None


def moments(folder, **options) -> list[Moment]:
    shown = []
    Place(folder).search(on_moment=shown.append, **options)
    return shown


@pytest.mark.parametrize("questions", [1, 3])
def test_what_is_shown_is_consistent_from_beginning_to_end(tmp_path, questions):
    shown = moments(tmp_path, sampler=replace(SEARCH, concurrent_trials=questions))

    for one in shown:
        assert 0 <= one.done <= one.samples == DIFFERENT
        assert one.trials_left >= 1
        assert (one.seconds_left is None) == (one.closed == 0)
        assert one.seconds_left is None or 0 <= one.seconds_left < math.inf
        assert one.closed == one.trial.number
        assert (one.best is None) == (one.closed == 0)
    for before, after in zip(shown, shown[1:], strict=False):
        assert before.seconds <= after.seconds
        assert (before.trial.number, before.done) <= (after.trial.number, after.done)
    last = shown[-1]
    assert (last.done, last.trials_left, last.seconds_left) == (DIFFERENT, 1, 0)


@pytest.mark.parametrize("questions", [1, 3])
def test_estimate_of_the_trials_left_is_never_too_small(tmp_path, questions):
    shown = moments(tmp_path, sampler=replace(SEARCH, concurrent_trials=questions))
    trials = shown[-1].trial.number + 1
    for one in shown:
        if one.trial.number > 0:  # keep-all is asked alone, which tells nothing of other rounds
            assert one.trials_left >= trials - one.trial.number


def test_keep_all_is_shown_too_where_an_enqueued_schedule_comes_first(tmp_path):
    asked = uninterrupted()[3].schedule
    shown = moments(tmp_path, before=lambda store: store.enqueue(STUDY, asked))
    assert [one.done for one in shown if one.trial.number == 0] == [0, 5, 8] * 2


def test_resumed_run_estimates_from_its_own_pace(tmp_path):
    Place(tmp_path).search(limits=Limits(trials=4))
    first, *_ = moments(tmp_path)
    assert (first.trial.number, first.closed, first.seconds_left) == (4, 0, None)
