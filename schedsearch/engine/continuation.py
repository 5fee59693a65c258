"""Decoding on a reduced KV cache: each layer attends to its own, shorter past."""

from dataclasses import dataclass, field
from typing import Any

import torch

from schedsearch.engine.selection import Stage


@dataclass(frozen=True)
class PrefillRecord:
    """What the prefill left in a cache.

    Attributes:
        width: Columns of the unreduced prompt; decoded tokens take the columns behind it.
        stages: For each layer the tokens it cached; `None` where it cached them all.
    """

    width: int
    stages: tuple[Stage | None, ...]


@dataclass
class Continuation:
    """One forward on top of a cached prompt: a decode step, or a further turn.

    Attributes:
        record: The prompt's prefill.
        cache: Its cache; a layer's length is read before the layer appends to it.
        seen: Columns cached by the unreduced layer 0.
        new: Query rows of this forward.
        valid: `(batch, seen + new)` 2-D attention mask, or `None` without padding.
    """

    record: PrefillRecord
    cache: Any
    seen: int
    new: int
    valid: torch.Tensor | None
    _masks: dict[int, torch.Tensor | None] = field(default_factory=dict)

    def mask(
        self, layer: int, stage: Stage, states: torch.Tensor, implementation: str
    ) -> torch.Tensor | None:
        """Mask of a reduced layer; layers of one stage share it.

        Args:
            layer: Index of the layer.
            stage: What the layer cached of the prompt.
            states: `(batch, new, hidden)` entering the layer.
            implementation: Attention implementation of the model.

        Returns:
            `None` where every query may see every key, `(batch, keys)` bool for flash attention,
            else `(batch, 1, new, keys)`: bool for sdpa, additive for eager.
        """
        if id(stage) not in self._masks:
            cached = self.cache.get_seq_length(layer)
            expected = stage.positions.shape[1] + self.seen - self.record.width
            assert cached == expected, f"layer {layer} caches {cached} tokens, not {expected}"
            self._masks[id(stage)] = self._build(stage, states, implementation)
        return self._masks[id(stage)]

    def _build(
        self, stage: Stage, states: torch.Tensor, implementation: str
    ) -> torch.Tensor | None:
        width, total = self.record.width, self.seen + self.new
        later = torch.arange(width, total, device=states.device).expand(states.shape[0], -1)
        columns = torch.cat([stage.positions, later], dim=1)
        visible = columns >= 0
        padded = stage.ragged
        if self.valid is not None and not bool(self.valid[:, width:].all()):
            visible &= self.valid.bool().gather(1, columns.clamp(min=0))
            padded = True
        if "flash" in implementation:
            return visible if padded else None
        if self.new == 1 and not padded:
            return None
        queries = torch.arange(self.seen, total, device=states.device)
        allowed = visible[:, None, None, :] & (columns[:, None, None, :] <= queries[:, None])
        if implementation != "eager":
            return allowed
        lowest = torch.finfo(states.dtype).min
        return torch.zeros_like(allowed, dtype=states.dtype).masked_fill(~allowed, lowest)
