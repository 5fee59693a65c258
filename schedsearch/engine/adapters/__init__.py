"""Adapters by architecture: the one place that maps class names to adapters."""

from typing import Any

from torch import nn

from schedsearch.engine.adapters.base import Adapter
from schedsearch.engine.adapters.llava import LlavaAdapter
from schedsearch.errors import UnsupportedError

ADAPTERS: dict[str, type[Adapter]] = {"LlavaForConditionalGeneration": LlavaAdapter}

__all__ = ["ADAPTERS", "Adapter", "adapter_for"]


def adapter_for(model: nn.Module) -> Adapter:
    """Adapter that serves `model`.

    Raises:
        UnsupportedError: The model is not multimodal, or no adapter knows its architecture.
    """
    name = type(model).__name__
    if name in ADAPTERS:
        adapter = ADAPTERS[name]()
        adapter.check(model)
        return adapter
    known = ", ".join(sorted(ADAPTERS))
    config: Any = getattr(model, "config", None)
    if getattr(config, "vision_config", None) is None:
        raise UnsupportedError(
            f"{name} is not a multimodal model: its config has no `vision_config`, so there are "
            f"no vision tokens to reduce; supported architectures: {known}"
        )
    raise UnsupportedError(f"{name} has no adapter yet; supported architectures: {known}")
