"""Where what evaluations share is kept: device memory first, then pinned host memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from schedsearch.errors import InputError

_PLAIN = (type(None), bool, int, float, str, type, torch.dtype, torch.device)
_MAX_HOST_BYTES = 16 << 30
"""Pinned pages are lost to everybody else on the host."""

Move = Callable[[torch.Tensor], torch.Tensor]


class Opaque(TypeError):
    """A value that may hold tensors out of sight, or change later."""


def move(value: Any, tensor: Move) -> Any:
    """A copy of nested containers and dataclasses with every tensor moved.

    Raises:
        Opaque: Something in it is neither container, tensor nor plain value.
    """
    if isinstance(value, torch.Tensor):
        return tensor(value)
    if isinstance(value, _PLAIN):
        return value
    if type(value) is dict:
        return {key: move(item, tensor) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(move(item, tensor) for item in value)
    if is_dataclass(value) and not isinstance(value, (type, dict)):
        moved = {one.name: move(getattr(value, one.name), tensor) for one in fields(value)}
        return replace(value, **moved)
    raise Opaque(f"{type(value).__name__} cannot be kept")


@dataclass
class Tier:
    """One kind of memory.

    Attributes:
        bound: Bytes that may be held.
        pinned: Whether tensors are copied to pinned host memory; else they stay on their device.
        used: Bytes held.
    """

    bound: int
    pinned: bool = False
    used: int = 0

    def hold(self, value: Any) -> "Held | None":
        """Keep a value; `None` if it does not fit."""
        cost = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal cost
            cost += self._bytes(tensor)
            return tensor

        move(value, count)
        if self.used + cost > self.bound:
            return None
        held = Held(move(value, self._pin if self.pinned else _compact), self, cost)
        self.used += cost
        return held

    def _bytes(self, tensor: torch.Tensor) -> int:
        size = tensor.numel() * tensor.element_size()
        if self.pinned:
            return 1 << (size - 1).bit_length() if size else 0  # as torch allocates pinned memory
        return min(size, tensor.untyped_storage().nbytes())

    @staticmethod
    def _pin(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type == "cpu":
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)


@dataclass(frozen=True)
class Held:
    """A value that is kept.

    Attributes:
        value: Nested containers and dataclasses of tensors.
        tier: Where it is.
        bytes: What it costs there.
    """

    value: Any
    tier: Tier
    bytes: int

    def on(self, device: torch.device) -> Any:
        """The value on a device; copied only if it is elsewhere."""
        if not self.tier.pinned:
            return self.value
        return move(
            self.value,
            lambda tensor: tensor.to(device, non_blocking=True) if tensor.is_pinned() else tensor,
        )

    def release(self) -> None:
        """Give its bytes back; to be called once."""
        self.tier.used -= self.bytes


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or a copy where it would keep a larger storage alive."""
    size = tensor.numel() * tensor.element_size()
    return tensor.clone() if tensor.untyped_storage().nbytes() > size else tensor


def make_tiers(device: torch.device, max_bytes: int | None) -> list[Tier]:
    """Memory for what is kept of a model on `device`, the fastest first.

    Args:
        device: The model's.
        max_bytes: Bound on all tiers together; default: a quarter of what is free on the device,
            and a quarter of what is available on the host, at most 16 GiB.

    Raises:
        InputError: The bound is negative.
    """
    if max_bytes is not None and max_bytes < 0:
        raise InputError(
            f"`max_prefix_bytes` must not be negative, but got {max_bytes}; 0 keeps nothing"
        )
    host = min(_MAX_HOST_BYTES, available_host_bytes() // 4)
    if device.type == "cpu":
        return [Tier(host if max_bytes is None else max_bytes)]
    if device.type != "cuda":
        return [Tier(0 if max_bytes is None else max_bytes)]
    free = torch.cuda.mem_get_info(device)[0] // 4
    if max_bytes is None:
        return [Tier(free), Tier(host, pinned=True)]
    near = min(free, max_bytes)
    return [Tier(near), Tier(max_bytes - near, pinned=True)]


def available_host_bytes() -> int:
    """Host memory that can be had without swapping, in this container; 0 if unknown."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # macOS and Windows do not tell
        return 0
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):  # counts caches too, which give way
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without limit
        pass
    return max(0, free)
