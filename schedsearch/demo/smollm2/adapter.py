"""What training adds to the decoder as installed: tower, projector and LoRA, in one file."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

FILE = "adapter.safetensors"
_SCALE = 2
_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def inject(model: Any, rank: int) -> None:
    """Put LoRA (arXiv 2106.09685) beside every linear layer of the decoder."""
    config = LoraConfig(r=rank, lora_alpha=_SCALE * rank, target_modules=_TARGETS)
    inject_adapter_in_model(config, model.model.language_model)


def learnt(model: Any) -> dict[str, Tensor]:
    """The weights that training changes, by name; not copies."""
    parts = ("vision_tower", "multi_modal_projector", "lora_")
    return {
        name: weight.detach()
        for name, weight in model.named_parameters()
        if any(part in name for part in parts)
    }


def save_adapter(model: Any, file: Path) -> None:
    """Write what was learnt as bfloat16."""
    weights = {
        name.replace(".default", ""): weight.to("cpu", torch.bfloat16).contiguous()
        for name, weight in learnt(model).items()
    }
    save_file(weights, file)


@torch.no_grad()
def merge(model: Any, file: Path) -> None:
    """Add an adapter to a model as installed, which needs no LoRA of its own then."""
    own = dict(model.named_parameters())
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118, the file is no mapping
            weight = opened.get_tensor(name).float()
            if ".lora_A" in name:
                other = opened.get_tensor(name.replace(".lora_A", ".lora_B")).float()
                own[name.replace(".lora_A", "")].add_(_SCALE * other @ weight)
            elif ".lora_B" not in name:
                own[name].copy_(weight)
