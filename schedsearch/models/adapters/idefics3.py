"""Idefics3 and SmolVLM."""

from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
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
