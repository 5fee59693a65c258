"""How probable the model finds the reference answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from schedsearch.evaluation.metrics.base import AnswerPredictions, TeacherForcedMetric

if TYPE_CHECKING:
    import torch


class LogLikelihood(TeacherForcedMetric):
    """Natural log of the probability of the whole first reference, its end token included.

    A sum over tokens, so that it is a property of the answer and not of its length.
    """

    name = "log_likelihood"
    greatest = 0.0

    def references(self, answers: Sequence[str]) -> Sequence[str]:
        """The first."""
        return answers[:1]

    def scores(self, predictions: AnswerPredictions) -> "torch.Tensor":
        """Sums of log-probabilities, in nats."""
        return predictions.log_probs.double().sum(1)
