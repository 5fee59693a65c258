"""Several devices pretended on the CPU, so that mixing them is an error as it is on real ones."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


def place(module: nn.Module, index: int) -> None:
    """Put a module on device `index` as accelerate does: its inputs follow inside `forward`."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.where_it_is = index
    forward: Any = module.forward

    def moved(value: Any) -> Any:
        return value.to(_device(index)) if isinstance(value, torch.Tensor) else value

    def placed(*args: Any, **kwargs: Any) -> Any:
        return forward(*tree_map(moved, args), **{k: tree_map(moved, v) for k, v in kwargs.items()})

    module.forward = placed


class PretendedDevices(TorchFunctionMode):
    """Every tensor is on the device it was put on; functions refuse tensors of two devices."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return _device(_index(args[0]))
        if func is torch.Tensor.to:
            targets = [one for one in (*args[1:], kwargs.get("device")) if _is_device(one)]
            others = [one for one in args[1:] if not _is_device(one)]
            kwargs.pop("device", None)
            plain = [args[0].as_subclass(torch.Tensor).clone()] if targets else [args[0]]
            out = func(*plain, *others, **kwargs) if others or kwargs else plain[0]
            index = torch.device(targets[0]).index or 0 if targets else _index(args[0])
            return _tag(out, index)
        wanted = kwargs.pop("device", None)
        found = {_index(one) for one in _tensors([args, kwargs]) if one.dim()}
        if len(found) > 1:
            raise RuntimeError(f"{func} got tensors on two devices: {sorted(found)}")
        out = func(*args, **kwargs)
        index = torch.device(wanted).index or 0 if wanted is not None else max(found, default=0)
        return tree_map(lambda one: _tag(one, index), out)


def _device(index: int) -> torch.device:
    return torch.device("cpu", index)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value.startswith("cpu"))


def _index(tensor: torch.Tensor) -> int:
    return int(getattr(tensor, "where_it_is", 0))


def _tag(value: Any, index: int) -> Any:
    if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
        value.where_it_is = index
    return value


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (one for one in tree_leaves(values) if isinstance(one, torch.Tensor))
