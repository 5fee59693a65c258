from dataclasses import replace

import pytest

from schedsearch.core.schedule import RankerSpec, Schedule
from tests.unit.execution.synthetic import FULL, SUBJECT

RANDOM = RankerSpec("random", (("seed", 1),))
HALF = Schedule((1.0, 1.0, 1.0, 0.5, 0.5, 0.1))
NEARLY = Schedule((1.0, 1.0, 1.0, 0.99, 0.98, 0.97))  # ceil: all of 6, all of 3


def test_sizes_are_listed_once_in_order():
    assert SUBJECT.n_visions == (3, 6)


def test_keys_join_content_with_the_counts_of_that_sample():
    keys = SUBJECT.evaluation_keys(HALF, SUBJECT.ids)
    assert keys[0] == ("content 0", (3, 3, 3, 2, 2, 1))
    assert keys[1] == ("content 1", (6, 6, 6, 3, 3, 1))
    assert [key for key, _ in keys] == list(SUBJECT.keys)


def test_keep_all_costs_all():
    assert SUBJECT.costs(FULL) == (1.0, 1.0)
    flops, kv = SUBJECT.costs(HALF)
    assert 0 < flops < 1
    assert 0 < kv < 1


@pytest.mark.parametrize("ranker", [RankerSpec(), RANDOM])
@pytest.mark.parametrize("schedule", [FULL, NEARLY])
def test_schedule_that_drops_nothing_has_one_context_whatever_the_ranker(schedule, ranker):
    ranked = replace(schedule, ranker=ranker)
    assert SUBJECT.context_of(ranked) == {"weights": "none", "ranker": None}
    assert SUBJECT.context_digest(ranked) == SUBJECT.context_digest(FULL)


def test_schedule_that_drops_tokens_has_the_context_of_its_ranker():
    assert SUBJECT.context_of(replace(HALF, ranker=RANDOM)) == {
        "weights": "none",
        "ranker": {"name": "random", "params": {"seed": 1}},
    }
    rankers = (RankerSpec(), RankerSpec("text"), RankerSpec("random"), RANDOM)
    digests = {SUBJECT.context_digest(replace(HALF, ranker=ranker)) for ranker in rankers}
    assert len(digests | {SUBJECT.context_digest(FULL)}) == 5


def test_context_holds_whatever_else_a_score_depends_on():
    other = replace(SUBJECT, context={"weights": "others"})
    assert other.context_digest(HALF) != SUBJECT.context_digest(HALF)
    assert other.context_digest(FULL) != SUBJECT.context_digest(FULL)
