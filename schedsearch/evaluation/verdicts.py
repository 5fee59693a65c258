"""From what metrics say to stored scores: finite numbers, or an error that names the sample."""

import math
from collections.abc import Sequence

import torch

from schedsearch.core.shown import shown
from schedsearch.core.trial import SampleScore
from schedsearch.errors import RunError
from schedsearch.evaluation.encoding import Row
from schedsearch.evaluation.metrics import ComparedMetric, GeneratedMetric, Metric


def judge(metric: GeneratedMetric, row: Row, text: str) -> float:
    """What the metric says of a generated answer.

    Raises:
        RunError: It failed; metrics may come from users.
    """
    try:
        return float(metric.score(text, row.sample.answers))
    except Exception as error:
        raise RunError(
            f"{metric.name} failed on sample {shown(row.sample_id)}, answered {shown(text)}: "
            f"{error!r}; correct the metric"
        ) from error


def compare(metric: ComparedMetric, row: Row, full: torch.Tensor, reduced: torch.Tensor) -> float:
    """What the metric says of what was read off both models.

    Raises:
        RunError: It failed; metrics may come from users.
    """
    try:
        return float(metric.score(full, reduced))
    except Exception as error:
        raise RunError(
            f"{metric.name} failed on sample {shown(row.sample_id)}: {error!r}; correct the metric"
        ) from error


def check_finite(metric: Metric, batch: Sequence[Row], finite: Sequence[bool]) -> None:
    """Refuse what the model said where it is not finite.

    Raises:
        RunError: Of the first such row.
    """
    for row, good in zip(batch, finite, strict=True):
        if not good:
            raise _not_finite(metric, row, "outputs of the model that are not")


def sample_scores(
    metric: Metric, batch: Sequence[Row], scores: Sequence[float], texts: Sequence[str] | None
) -> list[SampleScore]:
    """Scores, with what was generated, if anything.

    Raises:
        RunError: A score is not finite.
    """
    results = []
    for place, (row, score) in enumerate(zip(batch, scores, strict=True)):
        if not math.isfinite(score):
            raise _not_finite(metric, row, str(score))
        results.append(SampleScore(row.sample_id, score, texts[place] if texts else None))
    return results


def _not_finite(metric: Metric, row: Row, found: str) -> RunError:
    return RunError(
        f"{metric.name} of sample {shown(row.sample_id)} must be finite, but got {found}; use a "
        "wider dtype, or correct the metric"
    )
