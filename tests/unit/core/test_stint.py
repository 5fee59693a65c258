from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.stint import Stint, by_worker

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def stint(worker: str, began: float, ended: float) -> Stint:
    return Stint(worker, NOON + timedelta(seconds=began), NOON + timedelta(seconds=ended))


stints = st.builds(
    lambda worker, began, long: stint(worker, began, began + long),
    st.sampled_from("abc"),
    st.integers(0, 99),
    st.integers(0, 9),
)


@given(st.lists(stints), st.randoms())
def test_each_worker_has_one_stint_from_its_first_beginning_to_its_last_end(given_stints, random):
    found = by_worker(given_stints)
    assert {one.worker: (one.began, one.ended) for one in found} == {
        name: (
            min(one.began for one in given_stints if one.worker == name),
            max(one.ended for one in given_stints if one.worker == name),
        )
        for name in {one.worker for one in given_stints}
    }
    assert len({one.worker for one in found}) == len(found)
    assert [one.began for one in found] == sorted(one.began for one in found)
    random.shuffle(given_stints)
    assert by_worker(given_stints) == found


def test_of_very_many_workers_those_that_began_first_are_named():
    many = [stint(f"worker {number}", number, 100) for number in range(70)]
    assert by_worker(reversed(many)) == tuple(many[:64])


@pytest.mark.parametrize(
    "moments",
    [(NOON, NOON - timedelta(seconds=1)), (datetime(2030, 1, 1), datetime(2030, 1, 1))],
    ids=["backwards", "naive"],
)
def test_moments_that_can_be_none_are_refused(moments):
    with pytest.raises(AssertionError):
        Stint("worker", *moments)


def test_clock_that_was_set_back_ends_a_stint_where_it_began():
    later = datetime.now(UTC) + timedelta(hours=1)
    assert Stint.since(later, "worker") == Stint("worker", later, later)
