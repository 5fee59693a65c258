"""Ranking by the whole question."""

import torch

from schedsearch.engine.prompt import Prompt
from schedsearch.engine.rankers.base import AttentionRanker


class TextRanker(AttentionRanker):
    """Mean attention of the prompt rows behind the last vision token, over heads, then rows.

    A prompt that ends in a vision token is ranked by its last row.
    Reconstruction: arXiv 2412.00556 says "text tokens" without saying which.
    """

    def query_rows(self, prompt: Prompt) -> torch.Tensor:
        """True at the text behind the last vision token, up to the prompt's end."""
        columns = torch.arange(prompt.shape[1], device=prompt.vision.device)
        last_vision = (prompt.vision * columns).amax(1, keepdim=True)
        end = prompt.last_row[:, None]
        rows = prompt.valid & (columns > last_vision) & (columns <= end)
        return rows | ((columns == end) & ~rows.any(1, keepdim=True))
