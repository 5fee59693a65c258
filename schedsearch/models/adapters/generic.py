"""Multimodal models that no adapter was written for."""

import inspect
import warnings
from typing import Any

from torch import nn

from schedsearch.errors import SchedsearchError, UnsupportedError
from schedsearch.models.adapters.base import Adapter
from schedsearch.models.adapters.layers import check_config

_NEEDED = ("attention_mask", "position_embeddings", "past_key_values")
_SIZES = (
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "intermediate_size",
    "vocab_size",
)


class GenericAdapter(Adapter):
    """Serves what has the layout of the known families, with a warning."""

    def check(self, model: nn.Module) -> None:
        """Warn that nobody has tested the architecture, or say what it lacks.

        Raises:
            UnsupportedError: The model lacks a part that the runtime works on.
        """
        name = self.architecture(model)
        check_config(name, getattr(model.config, "text_config", None))
        missing = self._missing(model)
        if missing:
            raise UnsupportedError(
                f"{name} has no adapter, and the generic one cannot serve it: it needs "
                f"{'; '.join(missing)}; write an adapter (docs/add-a-model.md)"
            )
        super().check(model)
        warnings.warn(
            f"{name} has no adapter of its own and runs through the generic one, which nobody has "
            "tested with it; run the contract suite on it first (docs/add-a-model.md)",
            stacklevel=3,
        )

    def _missing(self, model: Any) -> list[str]:
        try:
            decoder, trunk = self.decoder(model), self.trunk(model)
            layers = self.layers(model)
        except (AttributeError, SchedsearchError):
            return ["`get_decoder()` that returns a text model with `layers`, inside `model`"]
        found = []
        if not layers or decoder is trunk:
            found.append("a decoder with `layers` inside the multimodal module")
        if not isinstance(getattr(decoder, "norm", None), nn.Module):
            found.append("a final `norm` after the layers")
        if not isinstance(getattr(decoder, "rotary_emb", None), nn.Module):
            found.append("a `rotary_emb` that makes the layers' position embeddings")
        if not self.vision_token_ids(model):
            found.append("an `image_token_id` in its config")
        if any(not _attends(layer) for layer in layers):
            found.append("`self_attn` with a config in every layer")
        taken = [set(inspect.signature(layer.forward).parameters) for layer in layers]
        lacking = [part for part in _NEEDED if not all(_takes(part, names) for names in taken)]
        if lacking:
            found.append(f"layers that take {', '.join(lacking)}")
        config: Any = getattr(decoder, "config", None)
        sizes = [size for size in _SIZES if not isinstance(getattr(config, size, None), int)]
        if sizes:
            found.append(f"{', '.join(sizes)} in the config of its text model")
        return found


def _attends(layer: nn.Module) -> bool:
    return hasattr(getattr(layer, "self_attn", None), "config")


def _takes(part: str, names: set[str]) -> bool:
    return part in names or (part == "past_key_values" and "kwargs" in names)
