"""Models inside what other libraries put around them."""

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from schedsearch.errors import UnsupportedError


def unwrapped(model: Any) -> Any:
    """The transformers model inside PEFT, `torch.compile` and `DistributedDataParallel`.

    The wrapper runs this very object, so whatever is hooked on it works through the wrapper too.

    Raises:
        UnsupportedError: The wrapper changes the prompt, or runs copies of the model.
    """
    while True:
        if isinstance(model, DataParallel):
            raise UnsupportedError(
                "DataParallel runs a copy of the model on each device, which a reduction would "
                "not reach; use one process per device, or `device_map`"
            )
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        elif hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
            _check_peft(model)
            model = model.get_base_model()
        else:
            return model


def input_device(model: Any) -> torch.device:
    """Where a model's `input_ids` belong, also where its weights are offloaded."""
    embeddings = model.get_input_embeddings()
    hook = getattr(embeddings, "_hf_hook", None)
    place = getattr(hook, "execution_device", None)
    weight: torch.Tensor = embeddings.weight
    return weight.device if place is None else torch.device(place)


def _check_peft(model: Any) -> None:
    for name, config in model.peft_config.items():
        if config.is_prompt_learning:
            raise UnsupportedError(
                f"the PEFT adapter {name!r} ({config.peft_type.value}) puts virtual tokens before "
                "the prompt, whose positions a reduction does not know; use LoRA or another "
                "adapter that changes weights only"
            )
