"""The chain falls from mild to the found schedule, and follows from the trials alone."""

import pytest

from schedsearch.app.chain import STEPS, TRIALS, chain
from schedsearch.app.study_view import StudyView
from schedsearch.core.schedule import Schedule
from schedsearch.store import open_store
from tests.integration.searched import searched_store
from tests.unit.execution.synthetic import SEARCH, STUDY, SUBJECT


@pytest.fixture
def view(tmp_path):
    (tmp_path / "s.db").write_bytes(searched_store())
    with open_store(tmp_path / "s.db") as store:
        yield StudyView(store, STUDY).snapshot()


def test_chain_falls_to_the_found_schedule(view):
    links = chain(view, SUBJECT)
    assert links == chain(view, SUBJECT)
    costs = [link.flops_ratio for link in links]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) > 3
    assert max(costs) < 1
    assert 2 < len(links) <= STEPS + TRIALS
    assert links[-1].schedule == view.best
    assert [SUBJECT.costs(link.schedule) for link in links] == [
        (link.flops_ratio, link.kv_ratio) for link in links
    ]
    evaluations = {SUBJECT.evaluation(link.schedule) for link in links}
    assert len(evaluations) == len(links)
    assert any(link.what.startswith("trial ") for link in links)


def test_interpolations_lie_on_the_grid_between_keep_all_and_the_result(view):
    counts = view.best.counts(SEARCH.n_max)
    between = [link for link in chain(view, SUBJECT) if "way" in link.what]
    assert between
    for link in between:
        own = link.schedule.counts(SEARCH.n_max)
        assert link.schedule == Schedule.from_counts(own, SEARCH.n_max, view.best.ranker)
        assert all(a >= b for a, b in zip(own, counts, strict=True))
    steps = [link.schedule.counts(SEARCH.n_max) for link in between]
    pairs = zip(steps, steps[1:], strict=False)
    assert all(a >= b for one, two in pairs for a, b in zip(one, two, strict=True))
