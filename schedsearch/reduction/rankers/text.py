"""Ranking by the whole question."""

import torch

from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import AttentionRanker


class TextRanker(AttentionRanker):
    """Mean attention of the prompt rows after the last vision token, over heads, then rows.

    Reconstruction: arXiv 2412.00556 says "text tokens" without saying which.
    """

    def query_rows(self, prompt: Prompt) -> torch.Tensor:
        """True at the text after the last vision token, up to the prompt's end."""
        columns = torch.arange(prompt.shape[1], device=prompt.vision.device)
        behind_vision = (prompt.vision * (columns + 1)).amax(1, keepdim=True)
        return prompt.valid & (columns >= behind_vision) & (columns <= prompt.last_row[:, None])
