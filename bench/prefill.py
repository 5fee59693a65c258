"""Prefill time of a random LLaVA with and without a schedule, side by side in one run.

The default shape is what a CPU does in seconds: 12 layers, 576 vision tokens. The schedule drops
once, at layer 2, to the keep ratio that meets the budget.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from schedsearch.core.budget import Budget
from schedsearch.core.families.step import Step
from schedsearch.core.flops import SampleTokens, flops_ratio, kv_ratio
from schedsearch.engine.adapters import adapter_for
from schedsearch.engine.timing import time_prefill

IMAGE_TOKEN = 999
TEXT = 40


def build(layers: int, hidden: int, patches: int, device: str) -> Any:
    """Random LLaVA with `patches` squared vision tokens."""
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=4 * patches,
        patch_size=4,
    )
    text = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        vocab_size=1000,
        pad_token_id=0,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    torch.manual_seed(0)
    return LlavaForConditionalGeneration(config).eval().to(device)


def prompts(batch: int, patches: int, device: str) -> dict[str, torch.Tensor]:
    """Random prompts: half of the text before the image, half behind."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, IMAGE_TOKEN, (batch, TEXT + patches**2), generator=generator)
    ids[:, TEXT // 2 : TEXT // 2 + patches**2] = IMAGE_TOKEN
    pixels = torch.randn(batch, 3, 4 * patches, 4 * patches, generator=generator)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pixels,
    }
    return {name: value.to(device) for name, value in inputs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--patches", type=int, default=24, help="vision tokens = patches squared")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.75, 0.5, 0.35])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    model = build(args.layers, args.hidden, args.patches, args.device)
    inputs = prompts(args.batch, args.patches, args.device)
    shape, tokens = adapter_for(model).shape(model), [SampleTokens(args.patches**2, TEXT)]
    rows = []
    for budget in args.budgets:
        schedule = Step().schedule({"layer": 2}, Budget("flops", budget), shape, tokens)
        timing = time_prefill(model, inputs, schedule, args.repeats)
        ratio = flops_ratio(shape, schedule, tokens)
        rows.append(
            {
                "budget": budget,
                "flops_ratio": ratio,
                "kv_ratio": kv_ratio(shape, schedule, tokens),
                "speedup": timing.speedup,
                "seconds_full": timing.full,
                "seconds_reduced": timing.reduced,
            }
        )
        print(f"FLOPs ratio {ratio:.3f}: prefill {timing.speedup:.2f}x faster", flush=True)
    if args.out:
        setting = {key: value for key, value in vars(args).items() if key != "out"}
        machine = {
            "machine": platform.machine(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
        }
        args.out.write_text(json.dumps({**setting, **machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
