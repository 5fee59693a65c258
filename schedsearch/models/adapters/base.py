"""What the runtime has to know of a model: where its parts are and which tokens are vision."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from schedsearch.core.flops import DecoderShape
from schedsearch.errors import UnsupportedError
from schedsearch.models.adapters.layers import check_config, check_layers
from schedsearch.models.layout import TokenGrid
from schedsearch.models.stage import Stage
from schedsearch.models.tower import Tower, unclear

AliveTokens = Callable[[], Stage | None]
"""Tokens in the layer that runs right now in this thread; `None` while none were removed."""


class Adapter:
    """Locates the parts of a transformers multimodal model.

    Everything here holds for every family whose text model has `layers` and a final `norm`; a
    family overrides what differs.
    """

    vision_inputs: tuple[str, ...] = (
        "pixel_values",
        "pixel_values_videos",
        "mm_encoder_outputs",
        "image_hidden_states",
    )
    """Forward arguments that bring new vision tokens into a prompt."""

    token_inputs: tuple[str, ...] = ("mm_token_type_ids", "token_type_ids")
    """Forward arguments with one value per prompt token, 0 at text."""

    def trunk(self, model: nn.Module) -> nn.Module:
        """Module whose forward takes `input_ids` and calls the decoder."""
        return model.get_submodule("model")

    def decoder(self, model: Any) -> nn.Module:
        """Text model: `layers`, `norm`, and a `config` of its own."""
        decoder: nn.Module = model.get_decoder()
        return decoder

    def layers(self, model: nn.Module) -> list[nn.Module]:
        """Decoder layers from shallow to deep."""
        return list(self.decoder(model).get_submodule("layers").children())

    def attention(self, model: nn.Module, layer: int) -> nn.Module:
        """Self-attention module of decoder layer `layer`."""
        return self.layers(model)[layer].get_submodule("self_attn")

    def vision_token_ids(self, model: Any) -> tuple[int, ...]:
        """Token ids that stand for vision tokens in `input_ids`."""
        names = ("image_token_id", "video_token_id")
        ids = (getattr(model.config, name, None) for name in names)
        return tuple(token_id for token_id in ids if token_id is not None)

    def vision_mask(self, model: nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
        """True at vision tokens.

        Args:
            model: The multimodal model.
            input_ids: `(batch, sequence)` token ids.

        Returns:
            `(batch, sequence)` bool.
        """
        mask = torch.zeros_like(input_ids, dtype=torch.bool)
        for token_id in self.vision_token_ids(model):
            mask |= input_ids == token_id
        return mask

    def architecture(self, model: nn.Module) -> str:
        """Class name, as it stands in `config.architectures`."""
        return type(model).__name__

    def shape(self, model: nn.Module) -> DecoderShape:
        """Sizes of the decoder that decide FLOPs and KV bytes."""
        config: Any = self.decoder(model).config
        heads = config.num_attention_heads
        return DecoderShape(
            layers=config.num_hidden_layers,
            hidden_size=config.hidden_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            mlp_size=config.intermediate_size,
            vocab_size=config.vocab_size,
        )

    def windows(self, model: nn.Module) -> tuple[int | None, ...]:
        """For each decoder layer how many columns a token sees, itself included; `None` for all."""
        config: Any = self.decoder(model).config
        layers, window = config.num_hidden_layers, getattr(config, "sliding_window", None)
        if getattr(config, "use_sliding_window", True) is False:
            window = None
        types = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
        return tuple(window if kind == "sliding_attention" else None for kind in types)

    def ranking_layer(self, model: nn.Module, layer: int) -> int | None:
        """Layer whose attention ranks the tokens that enter `layer`; `None` if there is none.

        The nearest layer before it that attends to everything: a sliding window cannot order the
        tokens outside it.
        """
        full = (n for n, window in enumerate(self.windows(model)[:layer]) if window is None)
        return max(full, default=None)

    def between_layers(
        self,
        model: nn.Module,  # noqa: ARG002
        alive: AliveTokens,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Context in which what the decoder does between its layers fits the tokens alive there."""
        return nullcontext()

    def tower(self, model: nn.Module) -> Tower:
        """How to read the vision tower's attention.

        Raises:
            UnsupportedError: Which patches become which vision token is not known.
        """
        raise unclear(
            self.architecture(model), "which patches become which vision token is not known"
        )

    def layout(
        self,
        model: Any,  # noqa: ARG002
        inputs: Mapping[str, torch.Tensor],  # noqa: ARG002
    ) -> list[TokenGrid] | None:
        """Where the vision tokens of one prompt lie, for pictures of them; None if nobody knows.

        Args:
            model: The multimodal model.
            inputs: Its arguments for one unpadded prompt with images.

        Returns:
            Grids in the order of the tokens.
        """
        return None

    def check(self, model: nn.Module) -> None:
        """Refuse a variant of the family that the runtime would serve wrongly.

        Raises:
            UnsupportedError: No decoder layer attends to everything, one attends in a way that the
                runtime does not know, or layers differ in size, have experts, or hold other
                matrices than those whose cost is counted.
        """
        config: Any = self.decoder(model).config
        name = self.architecture(model)
        check_config(name, config)
        types = set(getattr(config, "layer_types", None) or ())
        unknown = sorted(types - {"full_attention", "sliding_attention"})
        if unknown:
            raise UnsupportedError(
                f"{name} has decoder layers of the kind {unknown[0]}, whose masks the runtime "
                "cannot reduce; use a checkpoint with full or sliding-window attention"
            )
        if None not in self.windows(model):
            raise UnsupportedError(
                f"{name} has sliding-window attention in every decoder layer, which cannot rank "
                "tokens outside their window; use a checkpoint with full attention in some or all "
                "decoder layers"
            )
        check_layers(name, self.layers(model), self.shape(model))
        if getattr(config, "attn_logit_softcapping", None):
            raise UnsupportedError(
                f"{name} caps its attention logits, which the ranking would not see; use a "
                "checkpoint whose `attn_logit_softcapping` is not set"
            )
