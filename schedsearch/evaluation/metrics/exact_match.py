"""Whether greedy decoding gives a reference, known from one forward."""

from typing import TYPE_CHECKING

from schedsearch.evaluation.metrics.base import AnswerPredictions, TeacherForcedMetric

if TYPE_CHECKING:
    import torch


class ExactMatch(TeacherForcedMetric):
    """1 if every token of a reference and its end token is the likeliest, else 0.

    Greedy decoding produces exactly these tokens then, and only then: by induction, its input at
    each step is the reference up to there. This speaks of the tokenisation that the reference
    gets after the prompt; a model that spells the same text in other tokens scores 0.
    """

    name = "exact_match"
    greatest = 1.0
    least = 0.0
    binary = True

    def scores(self, predictions: AnswerPredictions) -> "torch.Tensor":
        """All of them, or nothing."""
        return predictions.greedy.all(1).float()
