"""The chain of a certificate runs on the grid from mild to found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.chain import chain
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.errors import InputError

falling = st.lists(st.integers(0, 64), min_size=1, max_size=12).map(
    lambda counts: sorted(counts, reverse=True)
)


@given(falling, st.integers(1, 20))
def test_each_link_keeps_no_more_than_the_one_before_and_the_last_is_the_schedule(counts, links):
    found = Schedule.from_counts(counts, 64)

    schedules = chain(found, 64, links)

    assert schedules[-1] == found
    assert 1 <= len(schedules) <= links
    rows = [schedule.counts(64) for schedule in schedules]
    assert all(
        schedule.keep == tuple(c / 64 for c in schedule.counts(64)) for schedule in schedules
    )
    for above, here in zip(rows, rows[1:], strict=False):
        assert all(a >= b for a, b in zip(above, here, strict=True))
        assert sum(above) > sum(here)


def test_layers_that_keep_everything_do_so_in_every_link():
    schedules = chain(Schedule.from_counts([64, 64, 9, 0], 64), 64, 10)
    assert all(schedule.counts(64)[:2] == (64, 64) for schedule in schedules)


def test_layers_fall_by_equal_factors_and_in_ever_shorter_steps():
    rows = [one.counts(576)[0] for one in chain(Schedule.from_counts([35], 576), 576, 4)]
    assert rows == [81, 55, 43, 35]  # 577 (36 / 577) ** (link / 4) ** (1 / 4) - 1, rounded up


def test_a_schedule_off_the_grid_is_the_last_link_as_it_is():
    found = Schedule((1.0, 0.3), RankerSpec("text"))
    schedules = chain(found, 64, 5)
    assert schedules[-1].keep == (1.0, 0.3)
    assert all(schedule.ranker == RankerSpec("text") for schedule in schedules)
    assert all(one.keep[1] * 64 == one.counts(64)[1] for one in schedules[:-1])


@pytest.mark.parametrize(("n_max", "links", "name"), [(64, 0, "links"), (0, 3, "n_max")])
def test_a_chain_without_links_or_tokens_is_refused(n_max, links, name):
    with pytest.raises(InputError, match=f"`{name}` must be at least 1"):
        chain(Schedule((1.0,)), n_max, links)
