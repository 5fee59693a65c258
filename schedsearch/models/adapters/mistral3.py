"""Mistral Small 3.1 and later on `Mistral3ForConditionalGeneration`."""

from collections.abc import Mapping
from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
from schedsearch.models.adapters.pixtral import pixtral_layout, pixtral_tower
from schedsearch.models.layout import TokenGrid
from schedsearch.models.tower import Tower


class Mistral3Adapter(Adapter):
    """A Pixtral tower for images of any size, whose patches are merged before the decoder.

    The break tokens between rows of patches count as text.
    Source: arXiv 2410.07073 for the tower; `transformers.models.mistral3` for the layout.
    """

    def tower(self, model: Any) -> Tower:
        """All patches of an image; a token is the mean of the square that was merged."""
        config, module = model.config, model.model.vision_tower
        merge, layer = config.spatial_merge_size, config.vision_feature_layer
        return pixtral_tower(module, layer, merge, self.architecture(model))

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:
        """A token for each square of merged patches."""
        config = model.config
        return pixtral_layout(inputs, config.vision_config.patch_size, config.spatial_merge_size)
