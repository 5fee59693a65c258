"""Ranking by attention inside the vision tower, before the first layer."""

import torch

from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import EarlyRanker


class TowerRanker(EarlyRanker):
    """Attention of the tower's class token, or of all patches where there is none.

    Read in the layer whose features the decoder gets; a token that several patches were merged
    into has their mean. Source: VTC-CLS, arXiv 2412.05819, and FasterVLM, arXiv 2412.01818, for the
    class token; VisionZip, arXiv 2412.04467, for the mean. Differs: VTC-CLS joins several layers,
    VisionZip merges what it removes.
    """

    reads_tower = True

    def order(
        self,
        prompt: Prompt,  # noqa: ARG002
        features: torch.Tensor,  # noqa: ARG002
        tower: torch.Tensor | None,
        most: int,  # noqa: ARG002
    ) -> torch.Tensor:
        """The attention's logarithm itself."""
        assert tower is not None
        return tower
