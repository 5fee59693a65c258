"""Ranking by the last prompt token."""

import torch

from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import AttentionRanker


class LastRanker(AttentionRanker):
    """Attention of the last prompt row, mean over heads.

    Reconstruction: arXiv 2412.00556 leaves open which text rows count; FastV (arXiv 2403.06764)
    uses the last one.
    """

    def query_rows(self, prompt: Prompt) -> torch.Tensor:
        """True in one column of each row: the last prompt token."""
        columns = torch.arange(prompt.shape[1], device=prompt.vision.device)
        return columns == prompt.last_row[:, None]
