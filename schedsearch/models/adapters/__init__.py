"""Adapters by architecture: the one place that maps class names to adapters."""

from typing import Any

from torch import nn

from schedsearch.errors import UnsupportedError
from schedsearch.models.adapters.base import Adapter
from schedsearch.models.adapters.gemma3 import Gemma3Adapter
from schedsearch.models.adapters.generic import GenericAdapter
from schedsearch.models.adapters.idefics3 import Idefics3Adapter
from schedsearch.models.adapters.internvl import REMEDY, REMOTE_CODE, InternVLAdapter
from schedsearch.models.adapters.llava import LlavaAdapter, LlavaNextAdapter, LlavaOnevisionAdapter
from schedsearch.models.adapters.mistral3 import Mistral3Adapter
from schedsearch.models.adapters.qwen_vl import Qwen3VLAdapter, QwenVLAdapter

ADAPTERS: dict[str, type[Adapter]] = {
    "Gemma3ForConditionalGeneration": Gemma3Adapter,
    "Idefics3ForConditionalGeneration": Idefics3Adapter,
    "InternVLForConditionalGeneration": InternVLAdapter,
    "LlavaForConditionalGeneration": LlavaAdapter,
    "LlavaNextForConditionalGeneration": LlavaNextAdapter,
    "LlavaOnevisionForConditionalGeneration": LlavaOnevisionAdapter,
    "Mistral3ForConditionalGeneration": Mistral3Adapter,
    "Qwen2VLForConditionalGeneration": QwenVLAdapter,
    "Qwen2_5_VLForConditionalGeneration": QwenVLAdapter,
    "Qwen3VLForConditionalGeneration": Qwen3VLAdapter,
    "SmolVLMForConditionalGeneration": Idefics3Adapter,
}

__all__ = ["ADAPTERS", "REMEDY", "REMOTE_CODE", "Adapter", "adapter_for"]


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
