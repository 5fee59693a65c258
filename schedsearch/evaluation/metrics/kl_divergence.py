"""How far the reduced model's next-token distribution is from the full model's."""

from typing import TYPE_CHECKING

from schedsearch.evaluation.metrics.base import ComparedMetric, checked_length

if TYPE_CHECKING:
    import torch


class KlDivergence(ComparedMetric):
    """Minus KL(full || reduced) of the next-token distributions, in nats, in float64.

    By default after the prompt only, where nothing has to be generated; with a longer
    `max_new_tokens` the mean over the tokens of the full model's greedy answer.

    Args:
        max_new_tokens: Longest answer.
    """

    name = "kl_divergence"
    greatest = 0.0
    compares = "logits"

    def __init__(self, max_new_tokens: int = 1) -> None:
        self.max_new_tokens = checked_length(max_new_tokens)

    def score(self, full: "torch.Tensor", reduced: "torch.Tensor") -> float:
        """At most 0, to which rounding is cut off."""
        expected, found = full.double().log_softmax(-1), reduced.double().log_softmax(-1)
        divergences = (expected.exp() * (expected - found)).sum(-1)
        return 0.0 - divergences.mean().clamp(min=0).item()
