"""The demo model: a small LLaVA whose start makes look-up and copying easy to learn."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from schedsearch.demo.processor import BOS, EOS, IMAGE, PAD, vocabulary
from schedsearch.demo.recipe import IMAGE_SIZE, LAYERS

PATCH = 8
HIDDEN = 128
HEADS = 4
TOWER_LAYERS = 3


def vision_tokens(size: int) -> int:
    """Vision tokens of a square image of `size` pixels."""
    return (size // PATCH) ** 2


def tower_config(hidden: int = HIDDEN, size: int = IMAGE_SIZE) -> CLIPVisionConfig:
    """The vision tower's configuration, for square images of `size` pixels."""
    return CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=TOWER_LAYERS,
        num_attention_heads=HEADS,
        image_size=size,
        patch_size=PATCH,
        projection_dim=hidden,
    )


def build_model(
    seed: int, hidden: int = HIDDEN, layers: int = LAYERS, size: int = IMAGE_SIZE
) -> Any:
    """A randomly initialised `LlavaForConditionalGeneration` in float32."""
    tokens = vocabulary()
    text = LlamaConfig(
        vocab_size=-(-len(tokens) // 8) * 8,
        hidden_size=hidden,
        intermediate_size=hidden * 5 // 2,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        pad_token_id=tokens[PAD],
        bos_token_id=tokens[BOS],
        eos_token_id=tokens[EOS],
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=tower_config(hidden, size),
        text_config=text,
        image_token_index=tokens[IMAGE],
        image_seq_length=vision_tokens(size),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        pad_token_id=tokens[PAD],
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    _initialise(model, torch.Generator().manual_seed(seed), layers)
    return model


@torch.no_grad()
def _initialise(model: Any, random: torch.Generator, layers: int) -> None:
    """Scale weights by fan-in; what writes to the residual stream also by depth."""
    for name, weight in model.named_parameters():
        if "embed_tokens" in name:
            weight.normal_(0, 1.0, generator=random)
        elif "position_embedding" in name or "class_embedding" in name:
            weight.normal_(0, 0.3, generator=random)
        elif weight.ndim >= 2:
            scale = weight[0].numel() ** -0.5
            if name.endswith(
                ("o_proj.weight", "out_proj.weight", "down_proj.weight", "fc2.weight")
            ):
                scale *= (2 * layers) ** -0.5
            weight.normal_(0, scale, generator=random)


@torch.no_grad()
def initialise_for_lookup(model: Any, random: torch.Generator, copy_strength: float = 0.5) -> None:
    """Start the decoder as a machine that finds like content and copies it.

    Equal query and key projections attend to tokens with the same content; an output projection
    that is the transpose of an orthogonal value projection copies what it finds; the head reads
    word embeddings. The idea is mimetic initialisation (arXiv 2305.09828), which gives the products
    of these pairs a chosen sign. Differs: values are copied, not negated; strengths are ours.
    """
    decoder = model.model.language_model
    hidden = decoder.config.hidden_size
    model.lm_head.weight.copy_(decoder.embed_tokens.weight * 0.5 / hidden**0.5)
    for layer in decoder.layers:
        attention = layer.self_attn
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        nn.init.orthogonal_(attention.v_proj.weight, generator=random)
        attention.o_proj.weight.copy_(copy_strength * attention.v_proj.weight.T)


@torch.no_grad()
def grow(model: Any, source: Any) -> None:
    """Start a deeper model of larger images as the shallower `source` of the same width.

    Decoder layers of the source are spread over the depth. A layer in between begins as a copy of
    the one before it that writes nothing (its output projections are zero), so the function is
    unchanged; the idea is block expansion (arXiv 2401.02415). Position embeddings of patches are
    interpolated.
    """
    decoder, shallow = model.model.language_model, source.model.language_model
    decoder.embed_tokens.load_state_dict(shallow.embed_tokens.state_dict())
    decoder.norm.load_state_dict(shallow.norm.state_dict())
    model.lm_head.load_state_dict(source.lm_head.state_dict())
    depth, origin = len(decoder.layers), -1
    for number, layer in enumerate(decoder.layers):
        former, origin = origin, number * len(shallow.layers) // depth
        layer.load_state_dict(shallow.layers[origin].state_dict())
        if origin == former:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    projector = source.model.multi_modal_projector.state_dict()
    model.model.multi_modal_projector.load_state_dict(projector)
    tower = source.model.vision_tower.state_dict()
    for name, weight in model.model.vision_tower.named_parameters():
        found = tower[name]
        if name.endswith("position_embedding.weight"):
            found = torch.cat([found[:1], _resized(found[1:], len(weight) - 1)])
        weight.copy_(found)


def _resized(embeddings: Tensor, count: int) -> Tensor:
    """Position embeddings of a square grid, (n, hidden), for a square grid of `count`."""
    side, wanted = math.isqrt(len(embeddings)), math.isqrt(count)
    grid = embeddings.T.view(1, -1, side, side)
    resized = nn.functional.interpolate(grid, size=(wanted, wanted), mode="bicubic")
    return resized.flatten(2)[0].T


def patch_states(model: Any, pixels: Tensor) -> Tensor:
    """States of the vision tower's patches, (batch, n_vision, hidden), before the projector."""
    outputs = model.model.vision_tower(pixels, output_hidden_states=True)
    states: Tensor = outputs.hidden_states[-1][:, 1:]
    return states
