"""Adapters by architecture: the one place that maps class names to adapters."""

from typing import Any

from torch import nn

from schedsearch.core.registry import Registry
from schedsearch.errors import UnsupportedError
from schedsearch.models.adapters.base import Adapter
from schedsearch.models.adapters.generic import GenericAdapter
from schedsearch.models.adapters.internvl import REMEDY, REMOTE_CODE

ADAPTERS: Registry[type[Adapter]] = Registry(
    "adapter",
    {
        "Gemma3ForConditionalGeneration": f"{__name__}.gemma3:Gemma3Adapter",
        "Idefics3ForConditionalGeneration": f"{__name__}.idefics3:Idefics3Adapter",
        "InternVLForConditionalGeneration": f"{__name__}.internvl:InternVLAdapter",
        "LlavaForConditionalGeneration": f"{__name__}.llava:LlavaAdapter",
        "LlavaNextForConditionalGeneration": f"{__name__}.llava:LlavaNextAdapter",
        "LlavaOnevisionForConditionalGeneration": f"{__name__}.llava:LlavaOnevisionAdapter",
        "Mistral3ForConditionalGeneration": f"{__name__}.mistral3:Mistral3Adapter",
        "Qwen2VLForConditionalGeneration": f"{__name__}.qwen_vl:QwenVLAdapter",
        "Qwen2_5_VLForConditionalGeneration": f"{__name__}.qwen_vl:QwenVLAdapter",
        "Qwen3VLForConditionalGeneration": f"{__name__}.qwen_vl:Qwen3VLAdapter",
        "SmolVLMForConditionalGeneration": f"{__name__}.idefics3:Idefics3Adapter",
    },
)
register_adapter = ADAPTERS.register

__all__ = ["ADAPTERS", "REMEDY", "REMOTE_CODE", "Adapter", "adapter_for", "register_adapter"]


def adapter_for(model: nn.Module) -> Adapter:
    """Adapter that serves `model`; a generic one, with a warning, where none was written for it.

    Raises:
        UnsupportedError: The model is not multimodal, or lacks what adapters need; the message says
            what, and the remedy.
    """
    name = type(model).__name__
    config: Any = getattr(model, "config", None)
    if name in ADAPTERS:
        adapter = ADAPTERS[name]()
    elif getattr(config, "model_type", None) == REMOTE_CODE:
        raise UnsupportedError(f"{name} cannot be reduced: {REMEDY}")
    elif getattr(config, "vision_config", None) is None:
        known = ", ".join(sorted(ADAPTERS))
        raise UnsupportedError(
            f"{name} is not a multimodal model: its config has no `vision_config`, so there are "
            f"no vision tokens to reduce; supported architectures: {known}"
        )
    else:
        adapter = GenericAdapter()
    adapter.check(model)
    return adapter
