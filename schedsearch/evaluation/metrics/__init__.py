"""Metrics by name: the one place that maps names to classes."""

from collections.abc import Callable, Mapping
from typing import Any

from schedsearch.core.shown import shown
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics.answer_match import AnswerMatch
from schedsearch.evaluation.metrics.base import (
    AnswerPredictions,
    Compared,
    ComparedMetric,
    GeneratedMetric,
    Metric,
    TeacherForcedMetric,
    check_answers,
)
from schedsearch.evaluation.metrics.exact_match import ExactMatch
from schedsearch.evaluation.metrics.function import FunctionMetric
from schedsearch.evaluation.metrics.kl_divergence import KlDivergence
from schedsearch.evaluation.metrics.last_state_cosine import LastStateCosine
from schedsearch.evaluation.metrics.log_likelihood import LogLikelihood
from schedsearch.evaluation.metrics.vqa_accuracy import VqaAccuracy

METRICS: dict[str, Callable[..., Metric]] = {
    AnswerMatch.name: AnswerMatch,
    ExactMatch.name: ExactMatch,
    KlDivergence.name: KlDivergence,
    LastStateCosine.name: LastStateCosine,
    LogLikelihood.name: LogLikelihood,
    VqaAccuracy.name: VqaAccuracy,
}

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
]


def make_metric(name: str, params: Mapping[str, Any] | None = None) -> Metric:
    """Metric of that name.

    Raises:
        InputError: Unknown name or parameter.
    """
    if name not in METRICS:
        known = ", ".join(sorted(METRICS))
        raise InputError(
            f"`metric` must be one of {known}, but got {shown(name)}; choose one of them"
        )
    try:
        return METRICS[name](**dict(params or {}))
    except TypeError as error:
        raise InputError(f"the parameters of metric {shown(name)} do not fit: {error}") from None
