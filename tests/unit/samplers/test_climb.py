"""The last stage of a line: all samples are asked upwards from what a screen has found."""

import math

import pytest

from schedsearch.samplers.ledger import Verdict
from schedsearch.samplers.narrowing import Narrowing, Round
from tests.unit.samplers.synthetic import Counts


def climb(need: int, low: int, high: int, screened: int, questions: int = 1) -> list[int]:
    """The positions that all samples are asked, one of which is the need."""

    def ask(low: int, high: int, tries: Counts, samples: int | None) -> Round:
        return Round(
            1, 0, low, high, (high,), ({},) * len(tries), tuple((n,) for n in tries), samples
        )

    walk = Narrowing("gallop", questions, (1,)).least(ask, low, high)
    asked, answers = [], None
    while True:
        try:
            here = walk.send(answers)
        except StopIteration as end:
            assert end.value[-1] == need
            return asked
        tries = [counts[0] for counts in here.candidates]
        assert 0 < len(tries) <= questions
        assert all(here.low < position < here.high for position in tries)
        asked += [] if here.samples else tries
        answers = [
            Verdict(position >= (screened if here.samples else need), 1, 10**6)
            for position in tries
        ]


@pytest.mark.parametrize("questions", [1, 2, 5])
def test_climb_ends_at_the_need_wherever_it_begins_and_asks_nothing_twice(questions):
    for high in range(1, 14):
        for need in range(high + 1):
            for screened in range(need + 1):
                asked = climb(need, -1, high, screened, questions)
                assert len(set(asked)) == len(asked)
                assert need in (*asked, high)
                assert need - 1 in (*asked, screened - 1)


def test_questions_of_a_climb_grow_with_the_logarithm_of_the_way():
    for way in (100, 1000, 10**4, 10**5):
        for need in (way // 100, way // 3, way // 2, way - way // 100, way):
            asked = climb(need, -1, way, 0)
            assert len(asked) < 60 * math.log10(way)
            accepted = [position for position in asked if position >= need]
            assert len(accepted) < 10 + 5 * math.log10(way)


def test_steps_are_an_eighth_of_the_way_behind_or_ahead():
    rejected = [*range(10, 27), 28, 30, 32, 34, 37, 40, 43, 45, 47, 49]
    assert climb(50, -1, 64, 10) == [*rejected, 50]
    assert climb(44, -1, 64, 10) == [*rejected[:24], 45, 44]
    assert climb(10, -1, 64, 10) == [10]
    assert climb(64, -1, 64, 64) == []
