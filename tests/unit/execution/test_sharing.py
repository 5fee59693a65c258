"""Shares of a cluster by the names of workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.execution.cluster.sharing import Badge, fair_share, others, room, waits_for


def node(alive: bool = True, **resources: float) -> dict[str, object]:
    return {"Alive": alive, "Resources": resources}


def test_searches_know_each_other_by_the_names_of_their_workers():
    mine, theirs, third = Badge(0), Badge(4), Badge(2)
    names = [mine.name(1), theirs.name(1), theirs.name(2), third.name(9), "somebody:else", ""]
    assert others(names, mine.search) == {theirs.search: 4, third.search: 2}


@pytest.mark.parametrize(
    ("space", "wanted", "shares"),
    [
        (4, {"a": 0, "b": 0}, {"a": 2, "b": 2}),
        (5, {"a": 0, "b": 0}, {"a": 3, "b": 2}),
        (8, {"a": 0, "b": 1}, {"a": 7, "b": 1}),
        (8, {"a": 2, "b": 0, "c": 0}, {"a": 2, "b": 3, "c": 3}),
        (2, {"a": 0, "b": 0, "c": 0}, {"a": 1, "b": 1, "c": 1}),
        (0, {"a": 3}, {"a": 1}),
        (9, {"a": 3}, {"a": 3}),
    ],
)
def test_all_have_equally_many_as_far_as_they_ask(space, wanted, shares):
    assert {one: fair_share(space, wanted, one) for one in wanted} == shares


@given(
    st.integers(0, 40),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 20), min_size=1),
)
def test_shares_fill_the_room_and_exceed_neither_it_nor_what_is_asked(space, wanted):
    shares = {one: fair_share(space, wanted, one) for one in wanted}
    asked = {one: most or space for one, most in wanted.items()}
    assert all(share <= max(1, asked[one]) for one, share in shares.items())
    assert sum(shares.values()) <= max(space, len(wanted))
    if sum(asked.values()) >= space >= len(wanted):
        assert sum(shares.values()) == space
    short = [share for one, share in shares.items() if share < asked[one]]
    assert not short or max(shares.values()) - min(short) <= 1


def test_room_counts_whole_workers_on_each_living_node():
    nodes = [node(CPU=4, GPU=2), node(CPU=16, GPU=1), node(CPU=3), node(alive=False, CPU=9, GPU=9)]
    assert room(nodes, {"CPU": 1, "GPU": 1}) == 3
    assert room(nodes, {"CPU": 1, "GPU": 0.5}) == 6
    assert room(nodes, {"CPU": 0.1}) == 40 + 160 + 30
    assert room(nodes, {"GPU": 1, "big": 1}) == 0


def test_waiting_search_says_what_for_and_who_else_is_there():
    said = waits_for({"CPU": 1, "GPU": 1}, 2, {"CPU": 3}, {"CPU": 4, "GPU": 2}, 2)
    assert said == (
        "waiting for a worker with 1 CPU and 1 GPU; the cluster has 3 of 4 CPU free, 0 of 2 GPU "
        "free, which it shares with 2 other searches"
    )
    said = waits_for({"GPU": 4}, 0, {}, {"GPU": 2}, 0)
    assert said.endswith("no node of it is large enough: ask for less, or add a node")
