"""When workers are made, by a clock that the tests turn."""

from unittest.mock import Mock

import pytest

from schedsearch.execution.cluster import crew
from schedsearch.execution.cluster.crew import Crew, Member
from schedsearch.execution.cluster.host import Place
from schedsearch.execution.cluster.options import ClusterOptions


def node(name: str) -> dict:
    return {"NodeID": name, "Alive": True, "Resources": {"CPU": 2.0}}


@pytest.fixture
def nodes(monkeypatch):
    """The nodes of a cluster that there is not."""
    found = [node("a")]
    monkeypatch.setattr(crew.ray, "nodes", lambda: found)
    for asked in ("available_resources", "cluster_resources"):
        monkeypatch.setattr(crew.ray, asked, dict)
    monkeypatch.setattr(crew.ray.util, "list_named_actors", lambda all_namespaces: [])  # noqa: ARG005
    return found


@pytest.fixture
def pair(monkeypatch, nodes):
    """A crew of two."""
    found = Crew(ClusterOptions(workers=2))

    def make():
        found._made += 1
        name = str(found._made)
        place = Place(nodes[0]["NodeID"], "host", found._made)
        found.members[name] = Member(name, Mock(), place)
        return found.members[name]

    monkeypatch.setattr(found, "_make", make)
    return found


def refuse(pair: Crew, now: float) -> bool:
    """Have all workers that are made now refused; say whether there were any."""
    made = pair.tend(now)
    for member in made:
        pair.lost(member, now, "there is no such folder", blamed=False)
    return bool(made)


def test_pauses_between_workers_that_cannot_be_opened_double_up_to_a_minute(pair):
    assert [now for now in range(250) if refuse(pair, now)] == [0, 2, 6, 14, 30, 62, 122, 182, 242]


def test_new_node_is_tried_at_once(pair, nodes):
    for now in range(100):
        refuse(pair, now)
    assert not refuse(pair, 102)
    nodes.append(node("b"))
    assert refuse(pair, 104)
    assert not refuse(pair, 106)


def test_worker_that_died_at_work_is_replaced_at_once(pair):
    one, other = pair.tend(0)
    pair.opened(one)
    pair.lost(other, 0, "there is no such folder", blamed=False)
    for now in range(1, 100):
        refuse(pair, now)
    pair.lost(one, 100, "its process has died", blamed=True)
    assert len(pair.tend(100)) == 2


def test_worker_that_opens_makes_the_next_pause_short(pair):
    for now in range(123):
        refuse(pair, now)
    one, other = pair.tend(182)
    pair.opened(one)
    pair.lost(other, 182, "there is no such folder", blamed=False)
    assert len(pair.tend(184)) == 1
