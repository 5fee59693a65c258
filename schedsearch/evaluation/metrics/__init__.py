"""Metrics by name: the one place that maps names to classes."""

from collections.abc import Callable, Mapping
from typing import Any

from schedsearch.core.registry import Registry
from schedsearch.evaluation.metrics.base import (
    AnswerPredictions,
    Compared,
    ComparedMetric,
    GeneratedMetric,
    Metric,
    TeacherForcedMetric,
    check_answers,
)
from schedsearch.evaluation.metrics.function import FunctionMetric

METRICS: Registry[Callable[..., Metric]] = Registry(
    "metric",
    {
        "exact_match": "schedsearch.evaluation.metrics.exact_match:ExactMatch",
        "log_likelihood": "schedsearch.evaluation.metrics.log_likelihood:LogLikelihood",
        "vqa_accuracy": "schedsearch.evaluation.metrics.vqa_accuracy:VqaAccuracy",
        "answer_match": "schedsearch.evaluation.metrics.answer_match:AnswerMatch",
        "kl_divergence": "schedsearch.evaluation.metrics.kl_divergence:KlDivergence",
        "last_state_cosine": "schedsearch.evaluation.metrics.last_state_cosine:LastStateCosine",
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
