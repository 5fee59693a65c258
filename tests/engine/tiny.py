"""Small random LLaVA models whose attention is peaky enough for pruning to matter."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

IMAGE_TOKEN = 150
VOCAB = 200
N_VISION = 64
LAYERS = 6

KEEP = (1.0, 1.0, 0.5, 0.5, 0.25, 0.1)
"""Three drops, the last two in neighbouring layers; the test models show its effect clearly."""

TOLERANCE = 2e-4
"""On float32 logits of size 1. Other shapes sum in another order: 5e-5 measured, times four."""


@dataclass(frozen=True)
class TinyLlava:
    """Decoder heads and attention implementation of a test model."""

    kv_heads: int = 4
    attention: str = "sdpa"
    layers: int = LAYERS
    hidden: int = 64

    def __str__(self) -> str:
        return f"{self.attention}-{self.kv_heads}kv"


CONFIGURATIONS = [TinyLlava(kv, name) for kv in (4, 2) for name in ("sdpa", "eager")]
"""Multi-head and grouped-query attention, both implementations."""

OPPOSITES = [CONFIGURATIONS[0], CONFIGURATIONS[3]]
"""Between them every kind of heads and every implementation."""


def build(tiny: TinyLlava, seed: int = 1) -> Any:
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=4,
        projection_dim=32,
    )
    text = LlamaConfig(
        hidden_size=tiny.hidden,
        intermediate_size=2 * tiny.hidden,
        num_hidden_layers=tiny.layers,
        num_attention_heads=4,
        num_key_value_heads=tiny.kv_heads,
        vocab_size=VOCAB,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation=tiny.attention)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            peaky = "q_proj" in name or "k_proj" in name
            parameter.data.normal_(0, 0.25 if peaky else 0.08, generator=generator)
    # The image id is never the likeliest answer: recomputing references could not replay it.
    model.lm_head.weight.data[IMAGE_TOKEN] = 0
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model.eval().requires_grad_(False)


@cache
def shared(tiny: TinyLlava = TinyLlava()) -> Any:  # noqa: B008
    """Model that all tests of a process use; whoever changes weights builds their own."""
    return build(tiny)


def eager_twin(tiny: TinyLlava) -> Any:
    """The same weights with eager attention, for the reference."""
    return shared(replace(tiny, attention="eager"))


def question(seed: int, before: int = 5, behind: int = 12, images: int = 1) -> dict[str, Any]:
    """One unpadded sample: text, then images with text between them, then text."""
    generator = torch.Generator().manual_seed(seed)

    def text(n: int) -> list[int]:
        return torch.randint(5, IMAGE_TOKEN - 20, (n,), generator=generator).tolist()

    ids = text(before)
    for image in range(images):
        ids += ([] if image == 0 else text(3)) + [IMAGE_TOKEN] * N_VISION
    ids += text(behind)
    pixels = torch.randn(images, 3, 32, 32, generator=generator)
    input_ids = torch.tensor([ids])
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    return {**inputs, "pixel_values": pixels} if images else inputs


def pad(samples: list[dict[str, Any]], side: str) -> dict[str, Any]:
    """Batch of samples, padded on one side."""
    width = max(sample["input_ids"].shape[1] for sample in samples)
    rows, masks = [], []
    for sample in samples:
        ids = sample["input_ids"][0]
        gap = (width - len(ids), 0) if side == "left" else (0, width - len(ids))
        rows.append(torch.nn.functional.pad(ids, gap, value=0))
        masks.append(torch.nn.functional.pad(torch.ones_like(ids), gap, value=0))
    return {
        "input_ids": torch.stack(rows),
        "attention_mask": torch.stack(masks),
        "pixel_values": torch.cat([s["pixel_values"] for s in samples if "pixel_values" in s]),
    }


def text_positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids `(batch, sequence)` that count valid tokens, as `generate` assigns them."""
    return (mask.cumsum(1) - 1).clamp(min=0)
