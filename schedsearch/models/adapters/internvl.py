"""InternVL2, 2.5 and 3 in their native form, and what to do with the other one."""

from collections.abc import Mapping
from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
from schedsearch.models.layout import TokenGrid, grids_over
from schedsearch.models.tower import Given, Tower, feature_layer, unclear

REMOTE_CODE = "internvl_chat"
"""`model_type` of checkpoints that bring code of their own."""

REMEDY = (
    "this is an InternVL checkpoint in its original form, which runs on code of its own; take a "
    "native one (OpenGVLab/InternVL3-*-hf, InternVL2_5-*-MPO-hf), or convert this one: "
    "python -m schedsearch.models.internvl_conversion SOURCE TARGET (docs/models.md)"
)


class InternVLAdapter(Adapter):
    """Tiles of a fixed number of tokens after pixel shuffling; Qwen2, Qwen3 or Llama decoders.

    Source: arXiv 2404.16821; `transformers.models.internvl` for the layout.
    """

    def tower(self, model: Any) -> Tower:
        """The class token of each tile; a token is the mean of the square that was shuffled."""
        config, trunk, name = model.config, model.model, self.architecture(model)
        if config.vision_feature_select_strategy != "default":
            raise unclear(name, "the class token is a vision token too")
        layers = list(trunk.vision_tower.encoder.layer)
        layer: Any = feature_layer(config.vision_feature_layer, layers, name)

        def to_tokens(scores: torch.Tensor, _given: Given) -> torch.Tensor:
            side = int(scores.shape[1] ** 0.5)
            square = scores.view(-1, side, side, 1)
            shuffled = trunk.pixel_shuffle(square, scale_factor=config.downsample_ratio)
            tokens: torch.Tensor = shuffled.mean(-1)
            return tokens.flatten()

        return Tower(trunk.vision_tower, layer.attention, True, to_tokens)

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:
        """A token for each square of shuffled patches, tile by tile."""
        config = model.config
        patch, _ = config.vision_config.patch_size
        return grids_over(inputs["pixel_values"], patch / config.downsample_ratio)
