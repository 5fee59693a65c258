"""LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision."""

from collections.abc import Mapping
from typing import Any

import torch

from schedsearch.models.adapters.base import Adapter
from schedsearch.models.adapters.pixtral import pixtral_layout, pixtral_tower
from schedsearch.models.layout import TokenGrid, grids_over
from schedsearch.models.tower import Given, Tower, feature_layer, unclear

_STRATEGIES = {"clip_vision_model": "default", "siglip_vision_model": "full"}
"""For each tower how to select features so that each patch, and nothing else, is a token."""


class LlavaAdapter(Adapter):
    """One image placeholder token per projected patch; plain RoPE; any causal decoder.

    Pixtral checkpoints run on the same class; the break tokens between its rows count as text.
    Source: arXiv 2310.03744 for the model; `transformers.models.llava` for the layout.
    """

    def tower(self, model: Any) -> Tower:
        """CLIP by its class token; SigLIP and Pixtral by all patches; a token is a patch."""
        config, module, name = model.config, model.model.vision_tower, self.architecture(model)
        kind, strategy = module.config.model_type, config.vision_feature_select_strategy
        if kind == "pixtral":
            return pixtral_tower(module, config.vision_feature_layer, 1, name)
        if kind not in _STRATEGIES:
            raise unclear(name, f"nobody knows the layout of its vision tower ({kind})")
        if strategy != _STRATEGIES[kind]:
            raise unclear(name, f"it takes the {strategy} features of {kind}, not one per patch")
        layers = module.get_submodule(_layers_of(module))
        layer: Any = feature_layer(config.vision_feature_layer, list(layers), name)
        has_class = kind == "clip_vision_model"
        return Tower(module, layer.self_attn, has_class, _flat)

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:
        """A token for each patch of a crop, in the order of the images."""
        patch = model.config.vision_config.patch_size
        if model.config.vision_config.model_type == "pixtral":
            return pixtral_layout(inputs, patch)
        return grids_over(inputs["pixel_values"], patch)


def _flat(scores: torch.Tensor, _given: Given) -> torch.Tensor:
    return scores.flatten()


def _layers_of(module: Any) -> str:
    """Releases of transformers differ in whether a tower is wrapped once more."""
    return "encoder.layers" if hasattr(module, "encoder") else "vision_model.encoder.layers"


class LlavaNextAdapter(LlavaAdapter):
    """A view of the whole image, then the tiles that its shape asks for (AnyRes).

    The newline features after each row of tiles stand on image ids and count as vision tokens.
    Source: the LLaVA-NeXT release notes; `transformers.models.llava_next` for the layout.
    """

    def tower(self, model: Any) -> Tower:
        """Refused."""
        raise unclear(
            self.architecture(model),
            "newlines between its rows come from no patch, and tiles are cropped or resampled",
        )

    def layout(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> list[TokenGrid] | None:  # noqa: ARG002
        """Not known: tiles are cropped, and newlines stand between their rows."""
        return None


class LlavaOnevisionAdapter(LlavaNextAdapter):
    """AnyRes tiles, and videos whose frames are pooled; both end rows with a newline feature.

    Source: arXiv 2408.03326.
    """
