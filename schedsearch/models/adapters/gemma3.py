"""Gemma 3."""

from collections.abc import Mapping
from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
from schedsearch.models.layout import TokenGrid, grids_over
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

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:
        """A token for each square of pooled patches, an image or crop after the other."""
        pixels, side = inputs["pixel_values"], model.config.mm_tokens_per_image**0.5
        return grids_over(pixels, pixels.shape[-1] / side)
