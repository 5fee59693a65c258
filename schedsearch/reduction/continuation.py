"""Decoding on a reduced KV cache: each layer attends to its own, shorter past."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from schedsearch.errors import UnsupportedError
from schedsearch.models.stage import Stage
from schedsearch.reduction.reduced_cache import PrefillRecord, is_as_noted


@dataclass
class Continuation:
    """One forward on top of a cached prompt: a decode step, or a further turn.

    Attributes:
        record: The prompt's prefill.
        seen: Columns of the unreduced sequence before this forward.
        new: Query rows of this forward.
        valid: `(batch, seen + new)` bool, False at padding; `None` if there is none.
        implementation: Attention implementation of the model.
        windows: For each layer how many columns a token sees, itself included; `None` for all.
        held: For each layer how many of the columns it cached are still there.
    """

    record: PrefillRecord
    seen: int
    new: int
    valid: torch.Tensor | None
    implementation: str
    windows: tuple[int | None, ...]
    held: tuple[int, ...]
    _masks: dict[tuple[int, int | None, int], torch.Tensor | None] = field(default_factory=dict)

    def enter(
        self,
        layer: int,
        states: torch.Tensor,
        kwargs: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[torch.Tensor, dict[str, Any]] | None:
        """States and arguments for a layer in place of the model's; `None` leaves it alone.

        Args:
            layer: Index of the layer.
            states: `(batch, new, hidden)` that leave the layer before.
            kwargs: What the model passes to every layer.
        """
        stage = self.record.stages[layer]
        if stage is None:
            return None
        window, held = self.windows[layer], self.held[layer]
        kind = id(stage), window, held
        if kind not in self._masks:  # layers of one stage share their mask
            self._masks[kind] = self._mask(stage, states, window, held)
        return states, {"attention_mask": self._masks[kind], "position_ids": None}

    def _mask(
        self, stage: Stage, states: torch.Tensor, window: int | None, held: int
    ) -> torch.Tensor | None:
        """Mask of a reduced layer.

        `None` where every query may see every key, `(batch, keys)` bool for flash attention, else
        `(batch, 1, new, keys)`: bool for sdpa, additive for eager.
        """
        total, dense = self.seen + self.new, min(self.seen, self.record.width)
        prompt = stage.positions[:, : stage.positions.shape[1] - (self.record.width - dense)]
        device = prompt.device  # the first of several on which the layers may lie
        later = torch.arange(dense, total, device=device).expand(states.shape[0], -1)
        columns = torch.cat([prompt, later], dim=1)[:, -(held + self.new) :]
        if window is not None and total <= window:
            window = None
        visible = columns >= 0
        if self.valid is not None:
            visible &= self.valid.gather(1, columns.clamp(min=0))
        padded = stage.ragged or self.valid is not None
        if "flash" in self.implementation:
            return visible if padded else None
        if self.new == 1 and not padded and window is None:
            return None
        queries = torch.arange(self.seen, total, device=device)
        allowed = visible[:, None, None, :] & (columns[:, None, None, :] <= queries[:, None])
        if window is not None:
            allowed &= columns[:, None, None, :] > queries[:, None] - window
        if self.implementation != "eager":
            return allowed
        lowest = torch.finfo(states.dtype).min
        return torch.zeros_like(allowed, dtype=states.dtype).masked_fill(~allowed, lowest)


def continue_prompt(
    record: PrefillRecord | None,
    cache: Any,
    states: torch.Tensor,
    valid: torch.Tensor | None,
    implementation: str,
    windows: tuple[int | None, ...],
) -> Continuation | None:
    """Plan a forward on a filled cache; `None` if no layer of it is reduced.

    Args:
        record: What this reduction knows of the cache.
        cache: The cache.
        states: `(batch, new, hidden)` that will enter the layers.
        valid: `(batch, columns)`, zero at padding, the new columns last; `None` if there is none.
        implementation: Attention implementation of the model.
        windows: See `Continuation`.

    Raises:
        UnsupportedError: The cache does not hold what `record` says.
    """
    rows, new = states.shape[:2]
    lengths = [layer.get_seq_length() for layer in cache.layers]
    seen = cache.get_seq_length()
    if record is None:
        expected, readable = [seen] * len(lengths), True
    else:
        shrunk = record.width - seen
        sizes = [
            record.width if stage is None else stage.positions.shape[1] for stage in record.stages
        ]
        expected = [size - shrunk for size in sizes]
        readable = shrunk <= 0 or all(_ends_densely(record, stage, seen) for stage in record.stages)
        readable = readable and record.rows == rows and is_as_noted(cache)
    if valid is not None:
        spare = valid.shape[1] - seen - new
        readable = readable and spare <= 0 and (spare == 0 or record is None)
    if lengths != expected or not readable:
        raise UnsupportedError(
            "the KV cache does not hold what this reduction, and the rows and mask of this call, "
            "let expect; continue it inside the `with` block that filled it, rearrange it by its "
            "own methods only, and crop nothing before the text at its end"
        )
    if record is None:
        return None
    record = record.on(states.device)
    if valid is not None:  # asked once, before the layers: reading it waits for the device
        valid = None if bool(valid.all()) else valid.bool()
    held = tuple(map(_held, cache.layers, windows, lengths))
    return Continuation(record, seen, new, valid, implementation, windows, held)


def _held(layer: Any, window: int | None, length: int) -> int:
    """Columns that a cache layer still holds: one that slides forgets what no later token sees."""
    slides = window is not None and getattr(layer, "is_sliding", False)
    return min(length, window - 1) if slides and window is not None else length


def _ends_densely(record: PrefillRecord, stage: Stage | None, start: int) -> bool:
    """Whether all columns from `start` on are cached in every row, so that a crop cut only them.

    Rejected candidates of speculative decoding are cropped off this way.
    """
    if stage is None:
        return True
    tail = stage.positions[:, -(record.width - start) :]
    return bool((tail == torch.arange(start, record.width, device=tail.device)).all())
