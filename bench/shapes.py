"""Four public checkpoints, their decoders and towers at true size and scaled down for a CPU."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from schedsearch.core.families.published import INTERNVL2_8B, LLAVA_1_5_7B, PublishedCurve
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import RankerSpec, Schedule

IMAGE, VIDEO, START, END = 999, 998, 997, 996
PATCH, TEXT = 14, 40

Tower = tuple[int, int, int, int]
"""Layers, width, MLP width and heads of a vision tower."""

CLIP_L, INTERN_300M, QWEN_TOWER = (
    (24, 1024, 4096, 16),
    (24, 1024, 4096, 16),
    (32, 1280, 3420, 16),
)


@dataclass(frozen=True)
class Case:
    """Sizes of a checkpoint, and the image in its prompts.

    Attributes:
        checkpoint: Whose configuration this is.
        model: Class in transformers, and its config from a case.
        pixels: Forward arguments for images, from a case and the number of prompts.
        decoder: The language model.
        tower: The vision tower.
        side: Patches along a side of the image, or of a tile of it.
        tokens: Vision tokens of one image.
        tiles: Tiles of one image, the small view of all of it included.
        curve: Published for this checkpoint, or for LLaVA-1.5-7B.
    """

    checkpoint: str
    model: tuple[Any, Callable[["Case"], Any]]
    pixels: Callable[["Case", int], dict[str, torch.Tensor]]
    decoder: DecoderShape
    tower: Tower
    side: int
    tokens: int
    tiles: int = 1
    curve: PublishedCurve = LLAVA_1_5_7B

    def scaled(self, **changes: Any) -> "Case":
        """The same family in 12 layers of 256 channels; the MLP in the same proportion."""
        own = self.decoder
        kv_heads = 8 * own.kv_heads // own.heads
        mlp = 256 * own.mlp_size // own.hidden_size
        decoder = DecoderShape(12, 256, 8, kv_heads, 32, mlp, 1000)
        return replace(self, decoder=decoder, tower=(2, 64, 128, 4), **changes)

    @property
    def prompt(self) -> SampleTokens:
        """What is in each prompt."""
        return SampleTokens(self.tokens, TEXT)

    @property
    def published(self) -> Schedule:
        """The curve over this decoder's depth."""
        return Schedule(self.curve.stretched(self.decoder.layers, 2), RankerSpec("last"))


def text_config(case: Case) -> dict[str, Any]:
    shape = case.decoder
    return {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.mlp_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": 32768,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def tower_config(case: Case) -> dict[str, Any]:
    layers, width, mlp, heads = case.tower
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_attention_heads": heads,
    }


def clip(case: Case) -> Any:
    return CLIPVisionConfig(**tower_config(case), image_size=case.side * PATCH, patch_size=PATCH)


def llava(case: Case) -> Any:
    text = LlamaConfig(**text_config(case))
    return LlavaConfig(vision_config=clip(case), text_config=text, image_token_index=IMAGE)


def llava_next(case: Case) -> Any:
    pixels = 2 * case.side * PATCH
    return LlavaNextConfig(
        vision_config=clip(case),
        text_config=LlamaConfig(**text_config(case)),
        image_token_index=IMAGE,
        image_grid_pinpoints=[[pixels, pixels]],
    )


def internvl(case: Case) -> Any:
    pixels = case.side * PATCH
    vision = InternVLVisionConfig(
        **tower_config(case),
        image_size=[pixels, pixels],
        patch_size=[PATCH, PATCH],
        attention_bias=True,
    )
    text = LlamaConfig(**text_config(case))
    return InternVLConfig(
        vision_config=vision, text_config=text, image_token_id=IMAGE, tie_word_embeddings=False
    )


def qwen2_5_vl(case: Case) -> Any:
    layers, width, mlp, heads = case.tower
    eighth = case.decoder.head_dim // 16
    sections = [2 * eighth, 3 * eighth, 3 * eighth]
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    return Qwen2_5_VLConfig(
        text_config={**text_config(case), "rope_parameters": rope},
        vision_config={
            "depth": layers,
            "hidden_size": width,
            "intermediate_size": mlp,
            "num_heads": heads,
            "out_hidden_size": case.decoder.hidden_size,
            "fullatt_block_indexes": list(range(7, layers, 8)),
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
    )


def tiles(case: Case, batch: int) -> dict[str, torch.Tensor]:
    """All tiles of all prompts in a row."""
    return {"pixel_values": torch.randn(batch * case.tiles, 3, *[case.side * PATCH] * 2)}


def nested_tiles(case: Case, batch: int) -> dict[str, torch.Tensor]:
    """Tiles of an image of two by two tiles, prompt by prompt, and its size."""
    pixels = torch.randn(batch, case.tiles, 3, *[case.side * PATCH] * 2)
    sizes = torch.full((batch, 2), 2 * case.side * PATCH)
    return {"pixel_values": pixels, "image_sizes": sizes}


def patches(case: Case, batch: int) -> dict[str, torch.Tensor]:
    """Patches of two equal frames, as Qwen's processors cut them."""
    pixels = torch.randn(batch * case.side**2, 3 * 2 * PATCH**2)
    grid = torch.tensor([[1, case.side, case.side]] * batch)
    return {"pixel_values": pixels, "image_grid_thw": grid}


VICUNA_7B = DecoderShape(32, 4096, 32, 32, 128, 11008, 32064)
INTERNLM2_7B = DecoderShape(32, 4096, 32, 8, 128, 14336, 92553)
QWEN2_5_7B = DecoderShape(28, 3584, 28, 4, 128, 18944, 152064)

TRUE_SIZE = {
    "llava-1.5-7b": Case(
        "llava-hf/llava-1.5-7b-hf",
        (LlavaForConditionalGeneration, llava),
        tiles,
        VICUNA_7B,
        CLIP_L,
        side=24,
        tokens=576,
    ),
    # A square image of 672 pixels: two by two tiles and one view, a newline after each row.
    "llava-next-7b": Case(
        "llava-hf/llava-v1.6-vicuna-7b-hf",
        (LlavaNextForConditionalGeneration, llava_next),
        nested_tiles,
        VICUNA_7B,
        CLIP_L,
        side=24,
        tokens=24**2 + 48 * (48 + 1),
        tiles=5,
    ),
    # The most that the checkpoint cuts: twelve tiles and one view.
    "internvl-8b": Case(
        "OpenGVLab/InternVL2-8B",
        (InternVLForConditionalGeneration, internvl),
        tiles,
        INTERNLM2_7B,
        INTERN_300M,
        side=32,
        tokens=13 * 256,
        tiles=13,
        curve=INTERNVL2_8B,
    ),
    # A square image of 1008 pixels.
    "qwen2.5-vl-7b": Case(
        "Qwen/Qwen2.5-VL-7B-Instruct",
        (Qwen2_5_VLForConditionalGeneration, qwen2_5_vl),
        patches,
        QWEN2_5_7B,
        QWEN_TOWER,
        side=72,
        tokens=36**2,
    ),
}
SCALED = {
    "llava-1.5-7b": TRUE_SIZE["llava-1.5-7b"].scaled(),
    "llava-next-7b": TRUE_SIZE["llava-next-7b"].scaled(side=12, tokens=12**2 + 24 * (24 + 1)),
    "internvl-8b": TRUE_SIZE["internvl-8b"].scaled(tokens=3 * 256, tiles=3),
    "qwen2.5-vl-7b": TRUE_SIZE["qwen2.5-vl-7b"].scaled(side=48, tokens=24**2),
}


def build(case: Case, device: str, dtype: torch.dtype) -> Any:
    """The model with random weights, made on the device itself."""
    cls, config = case.model
    torch.manual_seed(0)
    with torch.device(device):
        model = cls._from_config(config(case), attn_implementation="sdpa", dtype=dtype).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def prompts(case: Case, batch: int, device: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Random prompts: half of the text before the image, half after; no padding."""
    torch.manual_seed(0)
    ids = torch.randint(5, END, (batch, TEXT + case.tokens))
    ids[:, TEXT // 2 : TEXT // 2 + case.tokens] = IMAGE
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if case.pixels is patches:
        ids[:, TEXT // 2 - 1], ids[:, TEXT // 2 + case.tokens] = START, END
        inputs["mm_token_type_ids"] = (ids == IMAGE).int()
    inputs |= case.pixels(case, batch)
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    return {name: value.to(device) for name, value in inputs.items()}
