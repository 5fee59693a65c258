"""Small random-weight models of every family, with prompts that differ in images and lengths.

Configurations carry what sets a family apart: tiles, M-RoPE grids, DeepStack, sliding windows,
grouped queries. Every model also gets two images in one prompt, and where it knows them, videos.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMVisionConfig,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

from schedsearch.testing import randomise

VOCAB = 200
IMAGE, VIDEO, START, END = 150, 151, 152, 153
LAYERS = 5
PINPOINTS = [[16, 32], [32, 16], [32, 32]]

Sample = dict[str, torch.Tensor]
Samples = Callable[[Any], Mapping[str, Sample]]


@dataclass(frozen=True)
class Family:
    """A family as the contract suite wants it."""

    build: Callable[[str], Any]
    samples: Samples
    vision_tokens: tuple[int, ...] = (IMAGE,)


TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 4,
}


def prompt(seed: int, images: Sequence[Sequence[int]], behind: int = 6) -> Sample:
    """Text, then runs of image ids with text between them, then text."""
    generator = torch.Generator().manual_seed(seed)

    def text(n: int) -> list[int]:
        return torch.randint(5, 140, (n,), generator=generator).tolist()

    ids = text(2 + seed % 3)
    for run in images:
        ids += [*run, *text(2)]
    ids += text(behind)
    tokens = torch.tensor([ids])
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def maker(config: Callable[[], Any], cls: Any) -> Callable[[str], Any]:
    def build(attention: str) -> Any:
        model = cls._from_config(config(), attn_implementation=attention)
        return randomise(model)

    return build


def square(tokens: int, side: int, *, nested: bool = False) -> Samples:
    """Images of one size and a fixed number of tokens; `nested` has a dimension for the sample."""

    def samples(_model: Any) -> Mapping[str, Sample]:
        found = {}
        for seed, images in ((11, 1), (12, 2), (13, 1)):
            one = prompt(seed, [[IMAGE] * tokens] * images, behind=4 + seed % 4)
            shape = (1, images) if nested else (images,)
            one["pixel_values"] = noise(seed, *shape, 3, side, side)
            found[f"{images} images, seed {seed}"] = one
        return found

    return samples


def clip(side: int = 16) -> Any:
    return CLIPVisionConfig(**TOWER, image_size=side, projection_dim=16)


def siglip(side: int = 16) -> Any:
    return SiglipVisionConfig(**TOWER, image_size=side, vision_use_head=False)


def llava() -> Any:
    return LlavaConfig(
        vision_config=clip(), text_config=LlamaConfig(**TEXT), image_token_index=IMAGE
    )


def vip_llava() -> Any:
    return VipLlavaConfig(
        vision_config=clip(),
        text_config=LlamaConfig(**TEXT),
        image_token_index=IMAGE,
        vision_feature_layers=[-1, -2],
    )


def pixtral_tower() -> Any:
    return PixtralVisionConfig(**TOWER, image_size=32, head_dim=8)


def pixtral() -> Any:
    return LlavaConfig(
        vision_config=pixtral_tower(),
        text_config=MistralConfig(**TEXT, head_dim=8, sliding_window=None),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )


def mistral3() -> Any:
    return Mistral3Config(
        vision_config=pixtral_tower(),
        text_config=MistralConfig(**TEXT, head_dim=16, sliding_window=None),
        image_token_index=IMAGE,
        spatial_merge_size=2,
        vision_feature_layer=-1,
    )


def rectangles(merge: int) -> Samples:
    """Pixtral's towers: images of any size, rows of patches that end in a break token."""

    def run(height: int, width: int) -> list[int]:
        rows, columns = height // 4 // merge, width // 4 // merge
        return ([IMAGE] * columns + [END]) * rows

    def samples(_model: Any) -> Mapping[str, Sample]:
        found = {}
        sizes = {21: [(16, 16)], 22: [(16, 24), (24, 16)], 23: [(24, 32)]}
        for seed, images in sizes.items():
            one = prompt(seed, [run(*size) for size in images], behind=4 + seed % 4)
            height, width = (max(side) for side in zip(*images, strict=True))
            pixels = torch.zeros(len(images), 3, height, width)
            for number, (high, wide) in enumerate(images):
                pixels[number, :, :high, :wide] = noise(seed + number, 3, high, wide)
            one |= {"pixel_values": pixels, "image_sizes": torch.tensor(images)}
            found[f"{len(images)} images of {images}"] = one
        return found

    return samples


def llava_next() -> Any:
    return LlavaNextConfig(
        vision_config=clip(),
        text_config=MistralConfig(**TEXT, sliding_window=None),
        image_token_index=IMAGE,
        image_grid_pinpoints=PINPOINTS,
    )


def llava_onevision() -> Any:
    return LlavaOnevisionConfig(
        vision_config=siglip(),
        text_config=Qwen2Config(**TEXT),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=PINPOINTS,
    )


def tiles(model: Any) -> Mapping[str, Sample]:
    """Images in tiles, as many tokens as the model makes of them; several in one prompt."""
    found = {}
    for seed, sizes in {31: [(30, 20)], 32: [(16, 30), (32, 32)], 33: [(30, 12)]}.items():
        counts = [1 + h * w for h, w in (((a + 15) // 16, (b + 15) // 16) for a, b in sizes)]
        pixels = torch.zeros(len(sizes), max(counts), 3, 16, 16)
        for number, count in enumerate(counts):
            pixels[number, :count] = noise(seed + number, count, 3, 16, 16)
        image_sizes = torch.tensor(sizes)
        features = model.model.get_image_features(pixels, image_sizes).pooler_output
        lengths = [len(image) for image in features]
        one = prompt(seed, [[IMAGE] * length for length in lengths], behind=4 + seed % 4)
        one |= {"pixel_values": pixels, "image_sizes": image_sizes}
        found[f"tiles of {sizes}"] = one
    return found


def tiles_and_video(model: Any) -> Mapping[str, Sample]:
    pixels = noise(34, 1, 2, 3, 16, 16)
    pooled = 2 * 2
    one = prompt(34, [[VIDEO] * (2 * pooled + 1)])  # two frames, and a newline after them
    return {**tiles(model), "video": one | {"pixel_values_videos": pixels}}


def internvl(text: Any) -> Callable[[], Any]:
    def config() -> Any:
        vision = InternVLVisionConfig(**TOWER | {"patch_size": [4, 4]}, image_size=[32, 32])
        return InternVLConfig(
            vision_config=vision,
            text_config=text(**TEXT),
            image_token_id=IMAGE,
            downsample_ratio=0.5,
        )

    return config


def internvl_tiles(_model: Any) -> Mapping[str, Sample]:
    """Sixteen tokens for each tile; one image of three tiles, two images of one and two."""
    found = {}
    for seed, images in {41: [1], 42: [1, 2], 43: [3]}.items():
        runs = [[START, *[IMAGE] * 16 * count, END] for count in images]
        one = prompt(seed, runs, behind=4 + seed % 4)
        one["pixel_values"] = noise(seed, sum(images), 3, 32, 32)
        found[f"images of {images} tiles"] = one
    return found


def qwen(config: Any, vision: Mapping[str, Any], text: Mapping[str, Any]) -> Callable[[], Any]:
    def make() -> Any:
        shared = {"in_channels": 3, "patch_size": 4, "spatial_merge_size": 2, "num_heads": 2}
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
        return config(
            text_config={**TEXT, "rope_parameters": rope, **text},
            vision_config={**shared, "depth": 2, "temporal_patch_size": 2, **vision},
            image_token_id=IMAGE,
            video_token_id=VIDEO,
            vision_start_token_id=START,
            vision_end_token_id=END,
        )

    return make


def grids(*, frames_apart: bool) -> Samples:
    """Images of any size and a video; `frames_apart` puts text before every frame of it."""

    def visual(seed: int, grid: list[list[int]], name: str, token: int) -> tuple[Any, Sample]:
        counts = [t * h * w // 4 for t, h, w in grid]
        runs = [[START, *[token] * count, END] for count in counts]
        if frames_apart and token == VIDEO:
            frames = [(t, h * w // 4) for t, h, w in grid]
            runs = [[START, *[token] * n, END] for t, n in frames for _ in range(t)]
        patches = noise(seed, 4 * sum(counts), 3 * 2 * 4 * 4)
        pixels = "pixel_values_videos" if token == VIDEO else "pixel_values"
        return runs, {pixels: patches, f"{name}_grid_thw": torch.tensor(grid)}

    def samples(_model: Any) -> Mapping[str, Sample]:
        found = {}
        for seed, images, videos in (
            (51, [[1, 8, 12]], []),
            (52, [[1, 4, 8], [1, 8, 4]], []),
            (53, [], [[3, 4, 8]]),
            (54, [[1, 4, 4]], [[2, 4, 4]]),
        ):
            runs: list[list[int]] = []
            inputs: Sample = {}
            for grid, name, token in ((images, "image", IMAGE), (videos, "video", VIDEO)):
                if grid:
                    more, visuals = visual(seed, grid, name, token)
                    runs, inputs = runs + more, inputs | visuals
            one = prompt(seed, runs, behind=4 + seed % 4)
            ids = one["input_ids"]
            kinds = (ids == IMAGE).int() + 2 * (ids == VIDEO).int()
            found[f"images {images}, videos {videos}"] = one | inputs | {"mm_token_type_ids": kinds}
        return found

    return samples


def gemma3() -> Any:
    text = Gemma3TextConfig(
        **TEXT | {"num_hidden_layers": 6},
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=12,
        layer_types=[f"{kind}_attention" for kind in ("sliding", "full") * 3],
    )
    return Gemma3Config(
        text_config=text,
        vision_config=siglip(32),
        mm_tokens_per_image=16,
        image_token_index=IMAGE,
        boi_token_index=START,
        eoi_token_index=END,
    )


def gemma3_blocks(model: Any) -> Mapping[str, Sample]:
    """Images whose tokens see each other both ways."""
    found = square(16, 32)(model)
    return {
        name: one | {"token_type_ids": (one["input_ids"] == IMAGE).long()}
        for name, one in found.items()
    }


def idefics3() -> Any:
    vision = Idefics3VisionConfig(**TOWER, image_size=32)
    text = LlamaConfig(**TEXT)
    return Idefics3Config(
        vision_config=vision, text_config=text, image_token_id=IMAGE, scale_factor=2, pad_token_id=0
    )


def smolvlm() -> Any:
    vision = SmolVLMVisionConfig(**TOWER, image_size=32)
    text = LlamaConfig(**TEXT | {"num_key_value_heads": 4})
    return SmolVLMConfig(
        vision_config=vision, text_config=text, image_token_id=IMAGE, scale_factor=2, pad_token_id=0
    )


BOTH = (IMAGE, VIDEO)
QWEN2 = {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
QWEN25 = {
    "hidden_size": 16,
    "out_hidden_size": 32,
    "intermediate_size": 32,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}
QWEN3 = {
    "depth": 4,
    "hidden_size": 16,
    "out_hidden_size": 32,
    "intermediate_size": 32,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1, 2],
}

FAMILIES = {
    "llava": Family(maker(llava, LlavaForConditionalGeneration), square(16, 16)),
    "pixtral": Family(maker(pixtral, LlavaForConditionalGeneration), rectangles(1)),
    "llava_next": Family(maker(llava_next, LlavaNextForConditionalGeneration), tiles),
    "llava_onevision": Family(
        maker(llava_onevision, LlavaOnevisionForConditionalGeneration), tiles_and_video, BOTH
    ),
    "internvl_qwen2": Family(
        maker(internvl(Qwen2Config), InternVLForConditionalGeneration), internvl_tiles
    ),
    "internvl_llama": Family(
        maker(internvl(LlamaConfig), InternVLForConditionalGeneration), internvl_tiles
    ),
    "qwen2_vl": Family(
        maker(qwen(Qwen2VLConfig, QWEN2, {}), Qwen2VLForConditionalGeneration),
        grids(frames_apart=False),
        BOTH,
    ),
    "qwen2_5_vl": Family(
        maker(qwen(Qwen2_5_VLConfig, QWEN25, {}), Qwen2_5_VLForConditionalGeneration),
        grids(frames_apart=False),
        BOTH,
    ),
    "qwen3_vl": Family(
        maker(qwen(Qwen3VLConfig, QWEN3, {"head_dim": 8}), Qwen3VLForConditionalGeneration),
        grids(frames_apart=True),
        BOTH,
    ),
    "idefics3": Family(
        maker(idefics3, Idefics3ForConditionalGeneration), square(16, 32, nested=True)
    ),
    "smolvlm": Family(maker(smolvlm, SmolVLMForConditionalGeneration), square(16, 32, nested=True)),
    "mistral3": Family(maker(mistral3, Mistral3ForConditionalGeneration), rectangles(2)),
    "gemma3": Family(maker(gemma3, Gemma3ForConditionalGeneration), gemma3_blocks),
}
"""Families with an adapter of their own."""

UNPROVEN = {"vip_llava": Family(maker(vip_llava, VipLlavaForConditionalGeneration), square(16, 16))}
"""Families that only the generic adapter serves."""
