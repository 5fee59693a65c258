"""Idefics3 and SmolVLM."""

from collections.abc import Mapping
from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
from schedsearch.models.layout import TokenGrid, grids_over
from schedsearch.models.tower import Given, Tower, unclear


class Idefics3Adapter(Adapter):
    """Images in tiles of a fixed number of tokens after pixel shuffling, with text around each.

    Source: arXiv 2408.12637 (Idefics3), 2504.05299 (SmolVLM).
    """

    def tower(self, model: Any) -> Tower:
        """All patches of a tile; a token is the mean of the square that was shuffled."""
        module, connector = model.model.vision_model, model.model.connector
        name = self.architecture(model)

        def to_tokens(scores: torch.Tensor, given: Given) -> torch.Tensor:
            mask = given.get("patch_attention_mask")
            if mask is not None and not bool(mask.all()):
                raise unclear(name, "parts of an image are padding")
            shuffled = connector.pixel_shuffle(scores[..., None], connector.scale_factor)
            tokens: torch.Tensor = shuffled.mean(-1)
            return tokens.flatten()

        return Tower(module, module.encoder.layers[-1].self_attn, False, to_tokens)

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:
        """A token for each square of shuffled patches, tile by tile; not of padded ones."""
        mask = inputs.get("pixel_attention_mask")
        if mask is not None and not bool(mask.all()):
            return None
        config = model.config
        return grids_over(
            inputs["pixel_values"], config.vision_config.patch_size * config.scale_factor
        )
