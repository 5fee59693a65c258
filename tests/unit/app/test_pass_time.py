"""What a full pass takes."""

import pytest

from schedsearch.app.pass_time import PassTime, Speed, fitted, given
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task, Work

FULL = 1000  # FLOPs of a full pass over 10 samples
TIME = PassTime(
    seconds=12.0, by_flops=10.0, first=5.0, full_score=1.0, reuses=True, samples=10
)  # so .2 s a sample


def task(*ids):
    return Task(Schedule.full(4), "calibration", ids)


def test_a_task_takes_its_share_of_flops_and_samples():
    speed = Speed(TIME, FULL, 10)
    speed("a", task("0", "1"), Work(200))
    assert speed("a", task("0", "1"), Work(50)) == pytest.approx(0.5 + 2 * 0.2)


def test_a_worker_takes_longer_for_samples_that_it_has_for_the_first_time():
    speed = Speed(TIME, FULL, 10)
    first, again = (speed("a", task("0", "1"), Work(200)) for _ in range(2))
    assert first - again == pytest.approx(2 * 0.5)
    assert speed("b", task("0", "1"), Work(200)) == first


def test_a_pass_takes_what_was_given():
    speed = Speed(given(30.0), FULL, 10)
    assert speed.of(passes=1.0, samples=10, new=10) == 30.0
    assert speed.of(passes=0.5, samples=10, new=0) == 15.0


@pytest.mark.parametrize(("by_sample", "by_flop"), [(0.01, 1e-12), (0.0, 1e-12), (0.01, 0.0)])
def test_a_line_finds_the_seconds_of_a_sample_and_of_a_flop(by_sample, by_flop):
    timed = [
        (64, flops, 64 * by_sample + flops * by_flop) for flops in (10**12, 6 * 10**11, 10**10)
    ]
    assert fitted(timed) == pytest.approx((by_sample, by_flop), rel=1e-6, abs=1e-15)


def test_no_time_is_negative_where_noise_says_so():
    flops = (10**12, 6 * 10**11, 10**10)
    for seconds in ((1.0, 0.2, 0.001), (0.5, 0.6, 0.9)):
        assert min(fitted([(64, *one) for one in zip(flops, seconds, strict=True)])) >= 0
