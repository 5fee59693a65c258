"""What was at work when."""

from datetime import timedelta

from schedsearch.app.happened import lanes, timeline
from schedsearch.core.trial import Trial, TrialState
from schedsearch.store.trials import Attempt
from tests.unit.core.test_stint import NOON, stint
from tests.unit.store.strategies import FULL


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def drawn(attempts, most=None):
    """Trials with lane, worker, and seconds at which they began."""
    trials = [Trial(number, {}, FULL, TrialState.RUNNING) for number in range(9)]
    spans = timeline(trials, attempts, most)
    return spans, [
        (one.trial, one.lane, one.worker, (one.started - NOON).total_seconds()) for one in spans
    ]


def attempt(began, ended, *workers):
    return Attempt(1, at(began), None if ended is None else at(ended), "", workers)


def test_each_worker_has_a_lane_and_what_nobody_is_known_of_comes_last():
    attempts = {
        0: attempt(0, 5),
        1: attempt(1, 6),
        2: attempt(6, 9, stint("b", 6.5, 8), stint("a", 7, 9)),
        3: attempt(9, 12, stint("b", 9, 12)),
        4: attempt(13, None),
    }
    spans, found = drawn(attempts)
    assert found == [
        (0, 2, "", 0.0),
        (1, 3, "", 1.0),
        (2, 1, "b", 6.5),
        (2, 0, "a", 7.0),
        (3, 1, "b", 9.0),
        (4, 2, "", 13.0),
    ]
    assert [one.seconds for one in spans] == [5, 5, 1.5, 2, 3, None]
    assert [(name, [one.trial for one in own]) for name, own in lanes(spans)] == [
        ("a", [2]),
        ("b", [2, 3]),
        ("no worker known", [0, 4]),
        ("", [1]),
    ]


def test_worker_that_is_at_work_for_two_trials_at_once_has_two_lanes_and_one_name():
    attempts = {
        0: attempt(0, 9, stint("a", 0, 9)),
        1: attempt(0, 5, stint("a", 1, 5), stint("b", 1, 5)),
    }
    spans, found = drawn(attempts)
    assert found == [(0, 0, "a", 0.0), (1, 1, "a", 1.0), (1, 2, "b", 1.0)]
    assert [name for name, _ in lanes(spans)] == ["a", "", "b"]


def test_of_many_the_latest_are_shown_and_lanes_without_any_are_left_out():
    attempts = {0: attempt(0, 1, stint("a", 0, 1)), 1: attempt(2, 3, stint("b", 2, 3))}
    assert drawn(attempts, 1)[1] == [(1, 0, "b", 2.0)]


def test_where_no_worker_is_known_no_lane_has_a_name():
    spans, _ = drawn({0: attempt(0, 5), 1: attempt(1, 6)})
    assert [name for name, _ in lanes(spans)] == ["", ""]
    assert lanes([]) == timeline([], {}) == []
