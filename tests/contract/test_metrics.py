"""What every metric must do. A new metric joins with its line in METRICS."""

import json
import math
from functools import cache

import pytest

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metric_identity import metric_identity
from schedsearch.evaluation.metrics import METRICS, make_metric
from tests.engine.embedded import IDS, QUESTIONS, REDUCED, embedded, full, task

SOME = IDS[:16]

each_metric = pytest.mark.parametrize("name", METRICS)


@cache
def evaluator(name: str) -> Evaluator:
    return Evaluator(*embedded(), QUESTIONS, make_metric(name))


def scores(name: str, schedule: Schedule, ids: tuple[str, ...] = SOME) -> list[SampleScore]:
    return list(evaluator(name).evaluate(task(schedule, ids)))


def values(name: str, schedule: Schedule) -> list[float]:
    return [one.score for one in scores(name, schedule)]


@each_metric
def test_metric_carries_the_name_it_is_registered_under(name: str) -> None:
    assert make_metric(name).name == name


@each_metric
def test_every_sample_has_a_finite_score_within_the_bounds(name: str) -> None:
    metric = make_metric(name)
    for schedule in (full(), REDUCED):
        found = scores(name, schedule)
        assert tuple(one.sample_id for one in found) == SOME
        assert all(math.isfinite(one.score) for one in found)
        assert all(metric.least <= one.score <= metric.greatest for one in found)
        assert not metric.binary or {one.score for one in found} <= {0.0, 1.0}


@each_metric
def test_what_a_schedule_takes_away_is_told(name: str) -> None:
    assert values(name, REDUCED) != values(name, full())


@each_metric
def test_score_of_a_sample_is_its_own(name: str) -> None:
    together = {one.sample_id: one.score for one in scores(name, REDUCED)}
    apart = {
        one.sample_id: one.score
        for sample in SOME[::-4]
        for one in scores(name, REDUCED, (sample,))
    }
    # Batches of another shape sum in another order.
    assert apart == pytest.approx({sample: together[sample] for sample in apart}, abs=1e-4)


@each_metric
def test_metric_is_recognised_when_it_is_made_again(name: str) -> None:
    identity = metric_identity(make_metric(name))
    assert "unknown" not in identity
    assert json.loads(json.dumps(identity)) == metric_identity(make_metric(name))
