"""How much the last prompt token's state turns away from the full model's."""

from typing import TYPE_CHECKING

from schedsearch.evaluation.metrics.base import ComparedMetric

if TYPE_CHECKING:
    import torch


class LastStateCosine(ComparedMetric):
    """Cosine between the states of the last prompt token after the last layer, in float64.

    Source: VFlowOpt (arXiv 2508.05211).
    Reconstruction: the state is read after the final norm, as transformers counts the last of a
    model's hidden states: it is what the head predicts the answer from.
    """

    name = "last_state_cosine"
    greatest = 1.0
    least = -1.0
    compares = "states"

    def score(self, full: "torch.Tensor", reduced: "torch.Tensor") -> float:
        """In [-1, 1], to which rounding is cut off; 1 if the states are equal."""
        one, other = full.double().flatten(), reduced.double().flatten()
        cosine = one @ other / ((one @ one) * (other @ other)).sqrt()
        return cosine.clamp(-1, 1).item()
