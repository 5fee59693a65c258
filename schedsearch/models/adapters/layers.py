"""What decoder layers hold, against what is counted of them."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from schedsearch.core.flops import DecoderShape
from schedsearch.errors import UnsupportedError


def check_config(name: str, config: Any) -> None:
    """Refuse a text model whose config gives its layers different sizes.

    Raises:
        UnsupportedError: See above.
    """
    if getattr(config, "is_heterogeneous", False):
        differing = ", ".join(sorted(config.per_layer_attributes))
        raise UnsupportedError(
            f"the decoder layers of {name} differ in {differing}, and costs are counted for layers "
            "of one size; use a checkpoint whose layers are all alike"
        )


def check_layers(name: str, layers: Sequence[nn.Module], shape: DecoderShape) -> None:
    """Refuse decoder layers that cost something else than the formula says.

    Raises:
        UnsupportedError: A layer holds experts, or other matrices than those of the formula.
    """
    counted = 2 * shape.hidden_size * shape.head_dim * (shape.heads + shape.kv_heads)
    counted += 3 * shape.hidden_size * shape.mlp_size
    for index, layer in enumerate(layers):
        parts = list(_parts(layer))
        experts = _experts(parts)
        if experts is not None:
            raise UnsupportedError(
                f"the decoder of {name} is a mixture of experts (layer {index} holds {experts}), "
                "and what those cost is not counted; use a dense checkpoint"
            )
        held = _held(parts)
        if held is not None and held != counted:
            raise UnsupportedError(
                f"decoder layer {index} of {name} multiplies by {held:,} weights for each token, "
                f"but a gated MLP and attention of the sizes in its config have {counted:,}, so "
                "its FLOPs would be counted wrong; use a checkpoint with usual decoder layers"
            )


Part = tuple[str, nn.Module]


def _experts(parts: Sequence[Part]) -> str | None:
    """A part of a layer that looks like one of several experts; `None` if there is none."""
    for path, module in parts:
        if "expert" in f"{path} {type(module).__name__}".lower():
            return path or type(module).__name__
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() > 2 and parameter.is_floating_point():
                return f"{path}.{name} of {parameter.dim()} dimensions"
    return None


def _held(parts: Sequence[Part]) -> int | None:
    """Weights by which a layer multiplies each token; `None` where a module hides its sizes.

    Modules of libraries that quantise keep `in_features` and `out_features` whatever they store;
    what PEFT adds beside a matrix does not count.
    """
    sizes = []
    for _, module in parts:
        inputs, outputs = (
            getattr(module, "in_features", None),
            getattr(module, "out_features", None),
        )
        if isinstance(inputs, int) and isinstance(outputs, int):
            sizes.append(inputs * outputs)
        elif any(parameter.dim() > 1 for parameter in module.parameters(recurse=False)):
            return None
    return sum(sizes)


def _parts(module: nn.Module, path: str = "") -> Iterator[Part]:
    """The modules of a layer by their paths, without what PEFT puts around and beside them."""
    children = dict(module.named_children())
    for name in ("base_layer", "original_module"):
        if name in children:
            yield from _parts(children[name], f"{path}.{name}".lstrip("."))
            return
    yield path, module
    for name, child in children.items():
        yield from _parts(child, f"{path}.{name}".lstrip("."))
