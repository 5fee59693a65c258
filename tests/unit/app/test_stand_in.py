"""Stand-ins for a model that nobody has searched."""

from dataclasses import replace

import numpy as np
import pytest

from schedsearch.app.stand_in import DEPTHS, Answers, StandIn, full_flops, span
from schedsearch.core.flops import SampleTokens, flops_ratio
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from tests.unit.execution.synthetic import SUBJECT

LAYERS = 8
SAMPLES = 200
TOKENS = tuple(SampleTokens(n, 20 + n % 3) for n in (64, 48, 32, 64) * (SAMPLES // 4))
IDS = tuple(f"s{number}" for number in range(SAMPLES))
SUBJECT = replace(
    SUBJECT,
    ids=IDS,
    keys=IDS,
    tokens=TOKENS,
    shape=replace(SUBJECT.shape, layers=LAYERS),
    greatest=1.0,
    least=0.0,
)
FULL = Schedule.full(LAYERS)
DEEP = Schedule((1.0,) * 4 + (0.5,) * 3 + (0.25,))
DEEPER = Schedule((1.0,) * 4 + (0.5,) * 3 + (0.125,))


def stand_in(reuse=True, full_score=0.8, fall=0.6):
    return StandIn(SUBJECT, Answers.draw(SUBJECT, fall, full_score), reuse)


def task(schedule, shared=0, ids=IDS):
    return Task(schedule, "calibration", ids, shared)


def scores(worker, schedule):
    return [one.score for one in worker.evaluate(task(schedule)).scores]


def test_the_full_model_answers_as_many_as_it_is_said_to():
    assert np.mean(scores(stand_in(full_score=0.8), FULL)) == 0.8


def test_a_full_pass_costs_what_full_flops_says():
    assert stand_in().evaluate(task(FULL)).work.flops == full_flops(SUBJECT)


def test_a_schedule_costs_its_flops_ratio():
    spent = stand_in().evaluate(task(DEEP)).work.flops
    assert spent / full_flops(SUBJECT) == pytest.approx(flops_ratio(SUBJECT.shape, DEEP, TOKENS))


def test_layers_that_were_kept_cost_nothing_again():
    worker, anew = stand_in(), stand_in(reuse=False)
    for one in (worker, anew):
        one.evaluate(task(DEEP, shared=7))
    last = worker.evaluate(task(DEEPER, shared=7)).work.flops
    assert last < 0.1 * anew.evaluate(task(DEEPER, shared=7)).work.flops


def test_layers_are_kept_for_the_same_samples_alone():
    worker = stand_in()
    worker.evaluate(task(DEEP, shared=7))
    half = worker.evaluate(task(DEEPER, shared=7, ids=IDS[:100])).work.flops
    assert half == stand_in().evaluate(task(DEEPER, ids=IDS[:100])).work.flops


def test_more_is_lost_by_a_deeper_cut_where_vision_is_read_late():
    cut = Schedule((1.0,) * 4 + (0.05,) * 4)
    early, late = (np.mean(scores(stand_in(fall=DEPTHS[name]), cut)) for name in ("early", "late"))
    assert late < early - 0.2


def test_some_that_the_full_model_misses_are_answered_without_their_distractor():
    full, cut = (np.array(scores(stand_in(), one)) for one in (FULL, Schedule((1.0,) + (0.3,) * 7)))
    assert np.any((full == 0) & (cut == 1))


@pytest.mark.parametrize(
    ("least", "greatest", "expected"),
    [(0.0, 1.0, (1.0, 0.0)), (-np.inf, 0.0, (0.0, -1.0)), (-np.inf, np.inf, (0.0, -1.0))],
)
def test_scores_lie_within_the_bounds_of_the_metric(least, greatest, expected):
    assert span(replace(SUBJECT, least=least, greatest=greatest)) == expected
