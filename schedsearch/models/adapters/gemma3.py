"""Gemma 3."""

from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
from schedsearch.models.tower import Given, Tower


class Gemma3Adapter(Adapter):
    """Mostly sliding windows, every few layers full attention; images attend both ways inside.

    Tokens are ranked by the nearest full layer before a cut. What leaves a window is counted in
    original positions, and image blocks come from the model's own mask.
    Source: arXiv 2503.19786.
    """

    def tower(self, model: Any) -> Tower:
        """All patches of an image; a token is the mean of the square that was pooled."""
        module, projector = model.model.vision_tower, model.model.multi_modal_projector
        inner = module if hasattr(module, "encoder") else module.vision_model
        side = projector.patches_per_image

        def to_tokens(scores: torch.Tensor, _given: Given) -> torch.Tensor:
            pooled: torch.Tensor = projector.avg_pool(scores.view(-1, 1, side, side))
            return pooled.flatten()

        return Tower(module, inner.encoder.layers[-1].self_attn, False, to_tokens)
