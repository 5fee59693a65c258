"""In what precision a model holds its weights, named equally on every device."""

from typing import Any

from torch import nn


def precision(model: nn.Module) -> tuple[str, str | None]:
    """Return the dtype of a model's weights, and their quantization; None where there is none.

    Args:
        model: Unwrapped. Of several floating dtypes all are named, such as `bfloat16+float32`.
    """
    dtypes = {one.dtype for one in model.parameters() if one.is_floating_point()}
    names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
    return "+".join(names), _quantization(model)


def _quantization(model: Any) -> str | None:
    """Method and bits, as the config of the model has them."""
    found = getattr(getattr(model, "config", None), "quantization_config", None)
    if found is None:
        return None
    settings = found if isinstance(found, dict) else found.to_dict()
    if settings.get("load_in_8bit"):
        return "8bit"
    if settings.get("load_in_4bit"):
        return f"4bit {settings.get('bnb_4bit_quant_type', '')}".strip()
    method, bits = settings.get("quant_method", "unknown"), settings.get("bits")
    named = str(getattr(method, "value", method))
    return f"{named} {bits}bit" if bits else named
