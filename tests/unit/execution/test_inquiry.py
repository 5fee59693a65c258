"""Parts of a question: divided into tasks, and read as a whole."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.flops import SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.execution.inquiry import (
    LEAST_TASK,
    Asked,
    EvaluationError,
    Inquiry,
    borders,
    divided,
)
from schedsearch.store.evaluations import Evaluation
from tests.unit.execution.synthetic import N_MAX, SUBJECT

IDS = tuple(f"s{n}" for n in range(50))
MANY = replace(SUBJECT, ids=IDS, keys=IDS, tokens=(SampleTokens(N_MAX, 4),) * len(IDS))
HALF = Schedule((1.0, 1.0, 1.0, 0.5, 0.5, 0.5))
PARTS = borders(len(IDS), 20, [5])


def inquiry(tasks: int, deciding: int = 2) -> Inquiry:
    return Inquiry(MANY, HALF, Asked(IDS, PARTS, tasks=tasks, deciding=deciding), {})


def answers(task):
    keys = MANY.evaluation_keys(task.schedule, task.sample_ids)
    return {
        key: Evaluation(float(IDS.index(name)))
        for key, name in zip(keys, task.sample_ids, strict=True)
    }


@given(
    st.lists(st.sampled_from([(8, 4), (8, 5), (100, 4), (2000, 9)]), max_size=200),
    st.integers(0, 20),
)
def test_part_is_divided_into_tasks_of_as_many_tokens_and_not_into_crumbs(lengths, tasks):
    tokens = {f"s{n}": SampleTokens(*one) for n, one in enumerate(lengths)}
    found = list(divided(list(tokens), tasks, tokens))
    assert sorted(name for one in found for name in one) == sorted(tokens)
    assert len(found) <= max(1, min(tasks, len(tokens) // LEAST_TASK))
    if len(found) > 1:
        weights = [sum(sum(asdict(tokens[name]).values()) for name in one) for one in found]
        assert max(weights) <= sum(weights) / tasks + max(map(sum, lengths))


def test_samples_of_equal_length_share_a_task():
    tokens = {f"s{n}": SampleTokens(8, 4 + n % 2) for n in range(40)}
    found = list(divided(list(tokens), 2, tokens))
    assert [len(one) for one in found] == [20, 20]
    assert [len({tokens[name] for name in one}) for one in found] == [1, 1]


@given(st.sampled_from([1, 2, 4, 16]), st.randoms(use_true_random=False))
def test_parts_are_read_as_a_whole_into_however_many_tasks_they_are_divided(tasks, rng):
    asked, read = inquiry(tasks), []
    flying: list[Task] = []
    while flying or asked.wanted:
        flying += asked.wanted
        asked.wanted.clear()
        task = flying.pop(rng.randrange(len(flying)))
        asked.take(task, answers(task))
        for _ in asked.read():
            read.append(len(asked.scores))
    assert read == PARTS
    assert asked.done
    assert [one.sample_id for one in asked.scores] == list(IDS)


def test_later_parts_wait_until_those_that_decide_have_been_read():
    asked = inquiry(2)
    early = list(asked.wanted)
    assert sorted(name for task in early for name in task.sample_ids) == sorted(IDS[:25])
    asked.wanted.clear()
    for task in early[1:]:
        asked.take(task, answers(task))
    assert list(asked.read()) == []
    asked.take(early[0], answers(early[0]))
    reading = asked.read()
    next(reading)
    next(reading)
    assert not asked.wanted  # whoever reads may stop here
    assert list(reading) == []
    late = [name for task in asked.wanted for name in task.sample_ids]
    assert sorted(late) == sorted(IDS[25:])


def test_nothing_waits_where_parts_are_not_divided():
    assert [len(task.sample_ids) for task in inquiry(1).wanted] == [5, 20, 20, 5]


def test_failed_task_counts_once_its_part_is_to_be_read():
    asked = inquiry(2)
    first, _, other = list(asked.wanted)[:3]  # the second part is two tasks
    asked.fail(other, "no memory")
    assert list(asked.read()) == []
    asked.take(first, answers(first))
    with pytest.raises(EvaluationError, match="no memory"):
        list(asked.read())
