"""InternVL checkpoints in their original form, made native without running code of theirs.

    python -m schedsearch.models.internvl_conversion SOURCE TARGET [TOKENIZER]

Layout of the original: InternViT with fused qkv, `mlp1` as projector, and a Qwen2, Llama or
InternLM2 decoder; InternLM2 fuses the queries of each key/value head with it. Source: arXiv
2404.16821 and 2403.17297.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    Qwen2Config,
)

from schedsearch.errors import InputError, UnsupportedError

Weights = dict[str, torch.Tensor]

_DECODERS = {
    "Qwen2ForCausalLM": Qwen2Config,
    "LlamaForCausalLM": LlamaConfig,
    "InternLM2ForCausalLM": LlamaConfig,
}
_VISION = (
    (r"^vision_model\.encoder\.layers\.", "model.vision_tower.encoder.layer."),
    (r"^vision_model\.embeddings\.", "model.vision_tower.embeddings."),
    (r"\.class_embedding$", ".cls_token"),
    (r"\.position_embedding$", ".position_embeddings"),
    (r"\.patch_embedding\.", ".patch_embeddings.projection."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.attn\.", ".attention."),
    (r"\.ls([12])$", r".lambda_\1"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"^mlp1\.0\.", "model.multi_modal_projector.layer_norm."),
    (r"^mlp1\.1\.", "model.multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "model.multi_modal_projector.linear_2."),
)
_TEXT = (
    (r"^language_model\.(lm_head|output)\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
    (r"\.tok_embeddings\.", ".embed_tokens."),
    (r"\.attention\.wo\.", ".self_attn.o_proj."),
    (r"\.attention\.wqkv\.", ".self_attn.qkv."),
    (r"\.feed_forward\.w1\.", ".mlp.gate_proj."),
    (r"\.feed_forward\.w3\.", ".mlp.up_proj."),
    (r"\.feed_forward\.w2\.", ".mlp.down_proj."),
    (r"\.attention_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
)
_CONTEXT = "<IMG_CONTEXT>"
_NAMES = {
    "context_image_token": _CONTEXT,
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "video_token": "<video>",
}
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT>\n"
    "{% elif part['type'] == 'video' %}<video>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def convert_internvl(
    source: str | Path, target: str | Path, tokenizer: str | Path | None = None
) -> None:
    """Write the native form of an original InternVL checkpoint.

    Args:
        source: Folder with config.json and safetensors files, `model_type` internvl_chat.
        target: Folder to write; made where it does not exist.
        tokenizer: Folder or hub id of a native checkpoint with the same vocabulary; default: the
            source's own, which for InternLM2 decoders is code that is not run here.

    Raises:
        InputError: The source is no such checkpoint, or weights are missing or left over.
        UnsupportedError: Decoder, pixel shuffling or tokenizer are of a kind without native form.
    """
    source, target = Path(source), Path(target)
    raw = _read(source / "config.json")
    words = _tokenizer(source, tokenizer)
    config = _config(raw, words)
    weights = native_weights(_load(source), config)
    with torch.device("meta"):
        model = InternVLForConditionalGeneration(config)
    expected = set(model.state_dict())
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    odd = sorted((expected - tied - weights.keys()) | (weights.keys() - expected))
    if odd:
        raise InputError(
            f"{source}: {len(odd)} weights are missing or unknown, {odd[0]} among them; get the "
            "complete checkpoint"
        )
    dtype = weights["model.language_model.embed_tokens.weight"].dtype
    config.dtype = dtype
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    ends = words.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(target)
    words.save_pretrained(target)
    _write_processor(target, raw, config)


def native_weights(original: Mapping[str, torch.Tensor], config: Any) -> Weights:
    """Weights by their native names, fused projections split.

    Args:
        original: Weights by their original names.
        config: Native config of the model.
    """
    found: Weights = {}
    for name, value in original.items():
        rules = _TEXT if name.startswith("language_model.") else _VISION
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        split: Callable[[torch.Tensor, Any], Iterator[torch.Tensor]] | None = None
        if ".self_attn.qkv." in name:
            split, config_part, stem = _split_by_head, config.text_config, ".self_attn.qkv."
        elif ".attention.qkv." in name:
            split, config_part, stem = _split_in_three, config.vision_config, ".attention.qkv."
        if split is None:
            found[name] = value
            continue
        for letter, part in zip("qkv", split(value, config_part), strict=True):
            found[name.replace(stem, stem.replace("qkv", f"{letter}_proj"))] = part.contiguous()
    return found


def _split_in_three(fused: torch.Tensor, _config: Any) -> Iterator[torch.Tensor]:
    yield from fused.chunk(3)


def _split_by_head(fused: torch.Tensor, config: Any) -> Iterator[torch.Tensor]:
    """InternLM2: for each key/value head its queries, its key, its value."""
    groups, rest = config.num_key_value_heads, fused.shape[1:]
    width = config.hidden_size // config.num_attention_heads
    heads = fused.view(groups, -1, width, *rest)
    for part in (heads[:, :-2], heads[:, -2], heads[:, -1]):
        yield part.reshape(-1, *rest)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; name a complete checkpoint") from error
    return content


def _config(raw: Mapping[str, Any], words: Any) -> Any:
    if raw.get("model_type") != "internvl_chat":
        raise InputError(
            f"`model_type` must be internvl_chat, but got {raw.get('model_type')!r}; what is "
            "native already needs no conversion"
        )
    text, vision = dict(raw["llm_config"]), raw["vision_config"]
    kind = (text.get("architectures") or ["?"])[0]
    if kind not in _DECODERS:
        raise UnsupportedError(
            f"the decoder {kind} has no native InternVL form; choose a checkpoint with one of "
            f"{', '.join(_DECODERS)}"
        )
    for name, needed in (("ps_version", "v2"), ("select_layer", -1)):
        if raw.get(name, needed) != needed:
            raise UnsupportedError(
                f"`{name}` is {raw[name]!r}, and the native form knows {needed!r} only; choose "
                "InternVL2 or later"
            )
    config_class = _DECODERS[kind]
    known = config_class().to_dict().keys() | {"rope_theta", "rope_scaling", "attention_bias"}
    text_config = config_class(**{k: v for k, v in text.items() if k in known - _OWN})
    if kind == "InternLM2ForCausalLM":
        text_config.attention_bias = bool(text.get("bias", False))
    ratio, size = raw.get("downsample_ratio", 0.5), _image_size(raw)
    return InternVLConfig(
        text_config=text_config,
        vision_config={
            "hidden_size": vision["hidden_size"],
            "intermediate_size": vision["intermediate_size"],
            "num_hidden_layers": vision["num_hidden_layers"],
            "num_attention_heads": vision["num_attention_heads"],
            "image_size": size,
            "patch_size": vision["patch_size"],
            "hidden_act": vision.get("hidden_act", "gelu"),
            "layer_norm_eps": vision.get("layer_norm_eps", 1e-6),
            "norm_type": vision.get("norm_type", "rms_norm"),
            "attention_bias": vision.get("qkv_bias", True),
            "use_qk_norm": vision.get("qk_normalization", True),
        },
        image_token_id=words.convert_tokens_to_ids(_CONTEXT),
        image_seq_length=int((size // vision["patch_size"] * ratio) ** 2),
        downsample_ratio=ratio,
        tie_word_embeddings=bool(text.get("tie_word_embeddings", False)),
        architectures=["InternVLForConditionalGeneration"],
    )


_OWN = frozenset({"model_type", "architectures", "auto_map", "transformers_version", "torch_dtype"})


def _image_size(raw: Mapping[str, Any]) -> int:
    return int(raw.get("force_image_size") or raw["vision_config"]["image_size"])


def _load(source: Path) -> Weights:
    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise InputError(f"{source} holds no safetensors files; get the complete checkpoint")
    found: Weights = {}
    for path in files:
        found.update(load_file(path))
    return found


def _tokenizer(source: Path, other: str | Path | None) -> Any:
    if other is None and "auto_map" in _read(source / "tokenizer_config.json"):
        raise UnsupportedError(
            f"the tokenizer of {source} is code of its own, which is not run here; pass as "
            "`tokenizer` a native checkpoint with the same vocabulary, such as "
            "OpenGVLab/InternVL2_5-8B-MPO-hf for InternLM2 decoders"
        )
    words = AutoTokenizer.from_pretrained(str(other or source), extra_special_tokens=_NAMES)
    own = source / "added_tokens.json"
    expected = _read(own).get(_CONTEXT) if own.exists() else None
    found = words.get_vocab().get(_CONTEXT)
    if found is None or (expected is not None and found != expected):
        raise InputError(
            f"{_CONTEXT} has the id {found} in the tokenizer, but {expected} in {source}; pass a "
            "tokenizer with the same vocabulary"
        )
    words.chat_template = _TEMPLATE
    return words


def _write_processor(target: Path, raw: Mapping[str, Any], config: Any) -> None:
    """The files that `InternVLProcessor` is loaded from; making one here would need torchvision."""
    size = {"height": _image_size(raw), "width": _image_size(raw)}
    pixels = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": size,
    }
    tiles = {
        "crop_to_patches": bool(raw.get("dynamic_image_size", True)),
        "min_patches": raw.get("min_dynamic_patch", 1),
        "max_patches": raw.get("max_dynamic_patch", 12),
    }
    files = {
        "processor_config.json": {
            "processor_class": "InternVLProcessor",
            "image_seq_length": config.image_seq_length,
        },
        "preprocessor_config.json": {
            "image_processor_type": "GotOcr2ImageProcessor",
            "processor_class": "InternVLProcessor",
            **pixels,
            **tiles,
        },
        "video_preprocessor_config.json": {
            "video_processor_type": "InternVLVideoProcessor",
            "processor_class": "InternVLProcessor",
            **pixels,
        },
    }
    for name, content in files.items():
        (target / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    convert_internvl(*sys.argv[1:4])
