"""Even spacing over the image: the baseline without any model."""

import torch

from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import Ranker


class UniformRanker(Ranker):
    """Keeps tokens at an even stride over those still alive, in raster order."""

    def scores(
        self,
        prompt: Prompt,  # noqa: ARG002
        candidates: torch.Tensor,
        counts: torch.Tensor,
        attention: torch.Tensor | None,  # noqa: ARG002
    ) -> torch.Tensor:
        """1 at the tokens of the stride, 0 elsewhere.

        Candidate r of n stays where `floor((r k + n/2) / n)` steps up: exactly k of them, as
        evenly spread as integers allow.
        """
        alive = candidates.sum(1, keepdim=True).clamp(min=1)
        wanted = counts[:, None]
        behind = (candidates.cumsum(1) * wanted + alive // 2) // alive
        before = ((candidates.cumsum(1) - 1) * wanted + alive // 2) // alive
        return ((behind > before) & candidates).float()
