"""Decoding on a reduced KV cache: each layer attends to its own, shorter past."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from schedsearch.engine.selection import Stage
from schedsearch.errors import UnsupportedError

_LENGTH = "get_seq_length"


@dataclass(frozen=True)
class PrefillRecord:
    """What the prefill left in a cache.

    Attributes:
        width: Columns of the unreduced prefill; later tokens take the columns behind it.
        stages: For each layer the tokens it cached; `None` where it cached them all.
    """

    width: int
    stages: tuple[Stage | None, ...]


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


def count_columns(cache: Any, record: PrefillRecord | None) -> None:
    """Let a cache whose layer 0 is reduced count the dropped columns too.

    Models take the length of layer 0 for the position of the next token.

    Args:
        cache: Just filled by a prefill.
        record: Of that prefill; `None` if nothing was dropped.
    """
    vars(cache).pop(_LENGTH, None)  # of a prompt that was in the cache before
    stage = record.stages[0] if record else None
    if record is not None and stage is not None:
        dropped = record.width - stage.positions.shape[1]
        # Holds the layers, not the cache, which would then be freed by the garbage collector only.
        setattr(cache, _LENGTH, partial(_columns, cache.layers, dropped))


def _columns(layers: Sequence[Any], dropped: int, layer_idx: int = 0) -> int:
    own: int = layers[layer_idx].get_seq_length()
    return own + dropped if layer_idx == 0 and own else own


def continue_prompt(
    record: PrefillRecord | None,
    cache: Any,
    new: int,
    valid: torch.Tensor | None,
    implementation: str,
    windows: tuple[int | None, ...],
) -> Continuation | None:
    """Plan a forward of `new` rows on a filled cache; `None` if no layer of it is reduced.

    Raises:
        UnsupportedError: The cache does not hold what `record` says.
    """
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
    if lengths != expected or not readable:
        raise UnsupportedError(
            "the KV cache holds reduced layers that are not, or no longer, as this reduction left "
            "them; continue the cache itself, not a copy, inside the `with` block that filled it, "
            "and crop nothing before the text at its end"
        )
    if record is None:
        return None
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
