"""Whether the reduced model answers what the full model answers."""

from typing import TYPE_CHECKING

from schedsearch.evaluation.metrics.base import ComparedMetric, checked_length

if TYPE_CHECKING:
    import torch


class AnswerMatch(ComparedMetric):
    """1 if greedy decoding gives the full model's greedy answer, else 0.

    One forward tells: by induction, the reduced model's input at each step is the full model's
    answer up to there. An answer that is not at its end after `max_new_tokens` counts up to there.

    Args:
        max_new_tokens: Longest answer.
    """

    name = "answer_match"
    greatest = 1.0
    least = 0.0
    binary = True
    compares = "tokens"

    def __init__(self, max_new_tokens: int = 8) -> None:
        self.max_new_tokens = checked_length(max_new_tokens)

    def score(self, full: "torch.Tensor", reduced: "torch.Tensor") -> float:
        """All tokens, or nothing."""
        return float(full.equal(reduced))
