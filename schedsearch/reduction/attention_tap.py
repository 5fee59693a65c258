"""Reading queries and keys off an attention layer without touching its result.

Only the tapped layers take the detour: each gets a copy of its config that names a wrapper in
transformers' `AttentionInterface`. The mask is still built for the model's own implementation,
and the wrapper shows that implementation the original config, so flash and sdpa kernels run exactly
as without the tap. No attention matrix is ever formed.
"""

import copy
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

OnAttention = Callable[[int, torch.Tensor, torch.Tensor, float], None]
"""Called with (layer, queries (B, H, S, h), keys (B, Hkv, K, h), scaling) after RoPE."""

_TAP = "schedsearch_tap"


@contextmanager
def tap_attention(modules: Mapping[int, nn.Module], on_attention: OnAttention) -> Iterator[None]:
    """Call `on_attention` for each tapped layer on every forward inside the context.

    Args:
        modules: Self-attention modules by layer index.
        on_attention: Receives queries and keys as the attention function sees them.
    """
    AttentionInterface.register(_TAP, _tapped_attention)
    originals: list[tuple[Any, Any]] = []
    try:
        for layer, module in modules.items():
            target: Any = module
            originals.append((target, target.config))
            config = copy.copy(target.config)
            config._attn_implementation_internal = _TAP
            config.schedsearch_tap = _Tap(layer, target.config, on_attention)
            target.config = config
        yield
    finally:
        for target, config in originals:
            target.config = config


class _Tap:
    """What the wrapper finds on a tapped module's config."""

    def __init__(self, layer: int, config: Any, on_attention: OnAttention) -> None:
        self.layer = layer
        self.config = config
        self.on_attention = on_attention


def _tapped_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    **kwargs: Any,
) -> Any:
    tap: _Tap = module.config.schedsearch_tap
    scaling = kwargs.get("scaling")
    tap.on_attention(tap.layer, query, key, query.shape[-1] ** -0.5 if scaling is None else scaling)
    eager = sys.modules[type(module).__module__].eager_attention_forward
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(tap.config._attn_implementation, eager)
    return attend(_Untapped(module, tap.config), query, key, value, attention_mask, **kwargs)


class _Untapped:
    """An attention module as it was before the tap.

    A view, because putting the config back on the module itself would untap it for other threads.
    """

    def __init__(self, module: nn.Module, config: Any) -> None:
        self._module = module
        self.config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def log_mean_attention(
    queries: torch.Tensor, keys: torch.Tensor, scaling: float, visible: torch.Tensor
) -> torch.Tensor:
    """Logarithm of the attention of some rows, mean over heads.

    Attention itself would be exactly 0 at keys far below the best, and their order lost.

    Args:
        queries: `(batch, heads, rows, head_dim)`, the chosen rows.
        keys: `(batch, kv_heads, n, head_dim)`.
        scaling: Factor on the dot product.
        visible: `(batch, rows, n)` bool, what each row may attend to.

    Returns:
        `(batch, rows, n)` float32; softmax per head over all visible keys, then the mean, then the
        logarithm: -inf at what is not visible.
    """
    batch, heads, rows, width = queries.shape
    groups = keys.shape[1]
    grouped = queries.reshape(batch, groups, heads // groups * rows, width).float()
    dots = (grouped @ keys.float().transpose(2, 3)) * scaling
    dots = dots.view(batch, heads, rows, -1).masked_fill(~visible[:, None], float("-inf"))
    return dots.log_softmax(-1).logsumexp(1) - math.log(heads)
