"""Metrics by name: the one place that maps names to classes."""

from collections.abc import Callable, Mapping
from typing import Any

from schedsearch.core.registry import Registry
from schedsearch.engine.metrics.base import (
    AnswerPredictions,
    Compared,
    ComparedMetric,
    GeneratedMetric,
    Metric,
    TeacherForcedMetric,
    check_answers,
)
from schedsearch.engine.metrics.function import FunctionMetric

METRICS: Registry[Callable[..., Metric]] = Registry(
    "metric",
    {
        "exact_match": "schedsearch.engine.metrics.exact_match:ExactMatch",
        "log_likelihood": "schedsearch.engine.metrics.log_likelihood:LogLikelihood",
        "vqa_accuracy": "schedsearch.engine.metrics.vqa_accuracy:VqaAccuracy",
        "answer_match": "schedsearch.engine.metrics.answer_match:AnswerMatch",
        "kl_divergence": "schedsearch.engine.metrics.kl_divergence:KlDivergence",
        "last_state_cosine": "schedsearch.engine.metrics.last_state_cosine:LastStateCosine",
    },
)
register_metric = METRICS.register

__all__ = [
    "METRICS",
    "AnswerPredictions",
    "Compared",
    "ComparedMetric",
    "FunctionMetric",
    "GeneratedMetric",
    "Metric",
    "TeacherForcedMetric",
    "check_answers",
    "make_metric",
    "register_metric",
]


def make_metric(name: str, params: Mapping[str, Any] | None = None) -> Metric:
    """Metric of that name.

    Raises:
        InputError: Unknown name or parameter.
    """
    made: Metric = METRICS.make(name, params or {}, "`metric`")
    return made
