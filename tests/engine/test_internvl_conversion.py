"""Converted InternVL checkpoints compute what the original layout means, written out here again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch.nn import functional
from transformers import AutoTokenizer, InternVLForConditionalGeneration, PreTrainedTokenizerFast

from schedsearch.errors import InputError, UnsupportedError
from schedsearch.models.internvl_conversion import convert_internvl

CONTEXT = 40
VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "image_size": 32}
VIT |= {"num_attention_heads": 2, "patch_size": 8, "norm_type": "layer_norm", "qkv_bias": True}
LLM = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 64}
LLM |= {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
LLM |= {"rope_theta": 1e4, "max_position_embeddings": 64, "tie_word_embeddings": False}


def original_config(kind: str, *, big: bool) -> dict[str, Any]:
    vit: dict[str, Any] = {**VIT, "qk_normalization": big, "layer_norm_eps": 1e-6}
    if big:
        vit |= {"norm_type": "rms_norm", "qkv_bias": False}
    llm: dict[str, Any] = {**LLM, "architectures": [kind], "model_type": "qwen2"}
    llm["model_type"] = {"InternLM2ForCausalLM": "internlm2"}.get(kind, llm["model_type"])
    return {
        "model_type": "internvl_chat",
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "llm_config": llm,
        "vision_config": vit,
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "force_image_size": 32,
        "max_dynamic_patch": 6,
    }


def original_weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    vit, llm = config["vision_config"], config["llm_config"]
    generator = torch.Generator().manual_seed(5)
    found: dict[str, torch.Tensor] = {}

    def draw(name: str, *shape: int) -> None:
        found[name] = torch.randn(shape, generator=generator) * 0.4

    def linear(name: str, out: int, into: int, *, bias: bool = True) -> None:
        draw(f"{name}.weight", out, into)
        if bias:
            draw(f"{name}.bias", out)

    width, inner = 16, 32
    draw("vision_model.embeddings.class_embedding", 1, 1, width)
    draw("vision_model.embeddings.position_embedding", 1, 17, width)
    draw("vision_model.embeddings.patch_embedding.weight", width, 3, 8, 8)
    draw("vision_model.embeddings.patch_embedding.bias", width)
    for n in range(2):
        layer = f"vision_model.encoder.layers.{n}"
        linear(f"{layer}.attn.qkv", 3 * width, width, bias=vit["qkv_bias"])
        linear(f"{layer}.attn.proj", width, width)
        linear(f"{layer}.mlp.fc1", inner, width)
        linear(f"{layer}.mlp.fc2", width, inner)
        for part in ("ls1", "ls2", "norm1.weight", "norm2.weight"):
            draw(f"{layer}.{part}", width)
        if vit["norm_type"] == "layer_norm":
            draw(f"{layer}.norm1.bias", width)
            draw(f"{layer}.norm2.bias", width)
        if vit["qk_normalization"]:
            draw(f"{layer}.attn.q_norm.weight", width)
            draw(f"{layer}.attn.k_norm.weight", width)
    draw("mlp1.0.weight", 4 * width)
    draw("mlp1.0.bias", 4 * width)
    linear("mlp1.1", 32, 4 * width)
    linear("mlp1.3", 32, 32)
    fused = llm["architectures"] == ["InternLM2ForCausalLM"]
    biased = llm["architectures"] == ["Qwen2ForCausalLM"]
    text = "language_model.model"
    draw(f"{text}.{'tok_embeddings' if fused else 'embed_tokens'}.weight", 64, 32)
    draw(f"{text}.norm.weight", 32)
    draw(f"language_model.{'output' if fused else 'lm_head'}.weight", 64, 32)
    for n in range(2):
        layer = f"{text}.layers.{n}"
        if fused:
            linear(f"{layer}.attention.wqkv", 64, 32, bias=False)
            linear(f"{layer}.attention.wo", 32, 32, bias=False)
            shapes = {"w1": (48, 32), "w3": (48, 32), "w2": (32, 48)}
            for part, shape in shapes.items():
                draw(f"{layer}.feed_forward.{part}.weight", *shape)
            norms = ("attention_norm", "ffn_norm")
        else:
            for part, out in (("q", 32), ("k", 16), ("v", 16)):
                linear(f"{layer}.self_attn.{part}_proj", out, 32, bias=biased)
            linear(f"{layer}.self_attn.o_proj", 32, 32, bias=False)
            for part, shape in {"gate": (48, 32), "up": (48, 32), "down": (32, 48)}.items():
                draw(f"{layer}.mlp.{part}_proj.weight", *shape)
            norms = ("input_layernorm", "post_attention_layernorm")
        for norm in norms:
            draw(f"{layer}.{norm}.weight", 32)
    return found


def rms(states: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return weight * states * (states.pow(2).mean(-1, keepdim=True) + eps).rsqrt()


def vision(w: dict[str, torch.Tensor], vit: dict[str, Any], pixels: torch.Tensor) -> torch.Tensor:
    e = "vision_model.embeddings"
    patches = functional.conv2d(
        pixels, w[f"{e}.patch_embedding.weight"], w[f"{e}.patch_embedding.bias"], stride=8
    )
    x = torch.cat(
        [w[f"{e}.class_embedding"].expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)],
        dim=1,
    )
    x = x + w[f"{e}.position_embedding"]
    for n in range(2):
        p = f"vision_model.encoder.layers.{n}"

        def norm(states: torch.Tensor, name: str, p: str = p) -> torch.Tensor:
            weight = w[f"{p}.{name}.weight"]
            if vit["norm_type"] == "rms_norm":
                return rms(states, weight, 1e-6)
            return functional.layer_norm(states, (16,), weight, w[f"{p}.{name}.bias"], 1e-6)

        h = norm(x, "norm1")
        fused = functional.linear(h, w[f"{p}.attn.qkv.weight"], w.get(f"{p}.attn.qkv.bias"))
        q, k, v = fused.unflatten(-1, (3, 16)).unbind(2)
        if vit["qk_normalization"]:
            q = rms(q, w[f"{p}.attn.q_norm.weight"], 1e-6)
            k = rms(k, w[f"{p}.attn.k_norm.weight"], 1e-6)
        q, k, v = (t.unflatten(-1, (2, 8)).transpose(1, 2) for t in (q, k, v))
        a = ((q @ k.transpose(2, 3)) * 8**-0.5).softmax(-1) @ v
        a = a.transpose(1, 2).flatten(2)
        a = functional.linear(a, w[f"{p}.attn.proj.weight"], w[f"{p}.attn.proj.bias"])
        x = x + a * w[f"{p}.ls1"]
        h = functional.linear(norm(x, "norm2"), w[f"{p}.mlp.fc1.weight"], w[f"{p}.mlp.fc1.bias"])
        h = functional.linear(functional.gelu(h), w[f"{p}.mlp.fc2.weight"], w[f"{p}.mlp.fc2.bias"])
        x = x + h * w[f"{p}.ls2"]
    grid = x[:, 1:].reshape(-1, 4, 4, 16)
    # Each output cell holds the four patches of a 2 x 2 block.
    blocks = grid.reshape(-1, 2, 2, 2, 2, 16).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 64)
    h = functional.layer_norm(blocks, (64,), w["mlp1.0.weight"], w["mlp1.0.bias"])
    h = functional.gelu(functional.linear(h, w["mlp1.1.weight"], w["mlp1.1.bias"]))
    return functional.linear(h, w["mlp1.3.weight"], w["mlp1.3.bias"])


def rotated(states: torch.Tensor) -> torch.Tensor:
    angles = torch.arange(states.shape[2])[:, None] / 1e4 ** (torch.arange(0, 8, 2) / 8)
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat([-second, first], dim=-1) * sin


def decoder(w: dict[str, torch.Tensor], x: torch.Tensor, *, fused: bool) -> torch.Tensor:
    text, size = "language_model.model", x.shape[1]
    hidden = torch.full((size, size), float("-inf")).triu(1)
    names = ("attention_norm", "ffn_norm", "feed_forward.w1", "feed_forward.w3", "feed_forward.w2")
    if not fused:
        names = ("input_layernorm", "post_attention_layernorm")
        names += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    for n in range(2):
        p = f"{text}.layers.{n}"
        first, second, gate, up, down = (w[f"{p}.{name}.weight"] for name in names)
        h = rms(x, first, 1e-5)
        if fused:  # (key/value head, two queries + key + value, width of a head)
            heads = functional.linear(h, w[f"{p}.attention.wqkv.weight"]).unflatten(-1, (2, 4, 8))
            q, k, v = heads[..., :2, :].flatten(2, 3), heads[..., 2, :], heads[..., 3, :]
            out = w[f"{p}.attention.wo.weight"]
        else:
            q, k, v = (
                functional.linear(
                    h,
                    w[f"{p}.self_attn.{part}_proj.weight"],
                    w.get(f"{p}.self_attn.{part}_proj.bias"),
                ).unflatten(-1, (-1, 8))
                for part in "qkv"
            )
            out = w[f"{p}.self_attn.o_proj.weight"]
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        k, v = rotated(k).repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        a = ((rotated(q) @ k.transpose(2, 3)) * 8**-0.5 + hidden).softmax(-1) @ v
        x = x + functional.linear(a.transpose(1, 2).flatten(2), out)
        h = rms(x, second, 1e-5)
        h = functional.silu(functional.linear(h, gate)) * functional.linear(h, up)
        x = x + functional.linear(h, down)
    return rms(x, w[f"{text}.norm.weight"], 1e-5)


def original_logits(
    w: dict[str, torch.Tensor], config: dict[str, Any], ids: torch.Tensor, pixels: torch.Tensor
) -> torch.Tensor:
    fused = "language_model.output.weight" in w
    name = "tok_embeddings" if fused else "embed_tokens"
    x = w[f"language_model.model.{name}.weight"][ids]
    x[ids == CONTEXT] = vision(w, config["vision_config"], pixels).flatten(0, 1)
    head = w[f"language_model.{'output' if fused else 'lm_head'}.weight"]
    return functional.linear(decoder(w, x, fused=fused), head)


def tokenizer() -> Any:
    words = {f"w{n}": n for n in range(3, 38)}
    words |= {"<unk>": 0, "<pad>": 1, "<|im_start|>": 2, "<|im_end|>": 38}
    words |= {"<img>": 39, "<IMG_CONTEXT>": CONTEXT, "</img>": 41}
    model = Tokenizer(WordLevel(words, unk_token="<unk>"))  # noqa: S106
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", pad_token="<pad>")  # noqa: S106


def write(folder: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    weights = original_weights(config)
    tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "added_tokens.json").write_text(json.dumps({"<IMG_CONTEXT>": CONTEXT}))
    half = len(weights) // 2
    for number, names in enumerate((list(weights)[:half], list(weights)[half:])):
        save_file({n: weights[n] for n in names}, folder / f"model-0000{number + 1}.safetensors")
    return weights


@pytest.mark.parametrize("big", [False, True], ids=["300M tower", "6B tower"])
@pytest.mark.parametrize("kind", ["Qwen2ForCausalLM", "LlamaForCausalLM", "InternLM2ForCausalLM"])
def test_a_converted_checkpoint_gives_the_original_logits(
    tmp_path: Path, kind: str, big: bool
) -> None:
    config = original_config(kind, big=big)
    weights = write(tmp_path, config)
    generator = torch.Generator().manual_seed(8)
    ids = torch.tensor([[5, 39, *[CONTEXT] * 8, 41, 9, 6, 7]])
    pixels = torch.randn(2, 3, 32, 32, generator=generator)

    convert_internvl(tmp_path, tmp_path / "native")

    model = InternVLForConditionalGeneration.from_pretrained(tmp_path / "native").eval()
    expected = original_logits(weights, config, ids, pixels)
    with torch.no_grad():
        found = model(input_ids=ids, pixel_values=pixels).logits
    assert expected.std() > 0.5
    assert (found - expected).abs().max() < 1e-3
    words = AutoTokenizer.from_pretrained(tmp_path / "native")
    assert words.context_image_token_id == model.config.image_token_id == CONTEXT
    assert model.generation_config.eos_token_id == 38
    assert model.config.image_seq_length == 4
    settings = json.loads((tmp_path / "native" / "preprocessor_config.json").read_text())
    assert (settings["size"]["height"], settings["max_patches"]) == (32, 6)


def change(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def no_native_decoder(folder: Path) -> None:
    change(folder, "config.json", llm_config={"architectures": ["Phi3ForCausalLM"]})


def lose_a_shard(folder: Path) -> None:
    (folder / "model-00002.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (no_native_decoder, UnsupportedError, "Phi3ForCausalLM has no native InternVL form"),
        (lambda f: change(f, "config.json", ps_version="v1"), UnsupportedError, "`ps_version`"),
        (lambda f: change(f, "config.json", model_type="internvl"), InputError, "no conversion"),
        (lose_a_shard, InputError, "weights are missing"),
        (
            lambda f: change(f, "tokenizer_config.json", auto_map={"AutoTokenizer": ["x", None]}),
            UnsupportedError,
            "code of its own.*pass as `tokenizer`",
        ),
        (
            lambda f: change(f, "added_tokens.json", **{"<IMG_CONTEXT>": 50}),
            InputError,
            "the id 40 in the tokenizer, but 50",
        ),
    ],
    ids=["decoder", "pixel shuffling", "native already", "shard", "tokenizer", "vocabulary"],
)
def test_what_cannot_be_converted_is_one_error(
    tmp_path: Path, spoil: Any, error: type[Exception], message: str
) -> None:
    write(tmp_path, original_config("Qwen2ForCausalLM", big=False))
    spoil(tmp_path)

    with pytest.raises(error, match=message):
        convert_internvl(tmp_path, tmp_path / "native")

    assert not (tmp_path / "native").exists()
