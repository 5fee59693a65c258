"""KV caches that know which columns of the prompt their layers hold, whatever is done to them."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from schedsearch.errors import UnsupportedError
from schedsearch.models.stage import Stage

_RECORD, _NOTES = "schedsearch_record", "schedsearch_notes"
_serving: set[str] = set()


@dataclass(frozen=True)
class PrefillRecord:
    """What a prefill left in a cache.

    Attributes:
        reduction: Names the reduction that ran it.
        rows: Prompts, or beams on them.
        width: Columns of the unreduced prefill; later tokens take the columns after it.
        stages: For each layer the tokens it cached; `None` where it cached them all.
    """

    reduction: str
    rows: int
    width: int
    stages: tuple[Stage | None, ...]

    @property
    def removed(self) -> int:
        """Columns that layer 0 lacks."""
        first = self.stages[0]
        return 0 if first is None else self.width - first.positions.shape[1]

    def on(self, device: torch.device) -> "PrefillRecord":
        """The same on another device."""
        if all(stage is None or stage.positions.device == device for stage in self.stages):
            return self
        return self.mapped(self.rows, lambda positions: positions.to(device))

    def mapped(
        self, rows: int | None, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> "PrefillRecord":
        """The same after a change of all positions; layers of one stage go on sharing it.

        Args:
            rows: How many there are then; `None` for as many as `change` leaves.
            change: Takes and returns positions `(rows, kept)`.
        """
        made = {
            id(stage): replace(stage, positions=change(stage.positions))
            for stage in self.stages
            if stage is not None
        }
        stages = tuple(None if stage is None else made[id(stage)] for stage in self.stages)
        if rows is None:
            rows = next(stage.positions.shape[0] for stage in made.values())
        return replace(self, rows=rows, stages=stages)


class _Following:
    """What a cache with reduced layers does besides what its own class does.

    Models take the length of layer 0 for the position of the next token, so columns that are not
    there count too. Rows that are copied, moved or left out take what is known of them along.
    """

    layers: list[Any]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        own: int = super().get_seq_length(layer_idx)  # type: ignore[misc]
        return own + _record(self).removed if layer_idx == 0 and own else own

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        super().reorder_cache(beam_idx)  # type: ignore[misc]
        self._follow(lambda positions: positions[beam_idx.to(positions.device)])

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)  # type: ignore[misc]
        self._follow(lambda positions: positions.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)  # type: ignore[misc]
        self._follow(lambda positions: positions[torch.as_tensor(indices, device=positions.device)])

    def crop(self, *args: Any, **kwargs: Any) -> None:
        super().crop(*args, **kwargs)  # type: ignore[misc]
        take_note(self)
        if self.get_seq_length() == 0:
            attach(self, None)

    def reset(self) -> None:
        super().reset()  # type: ignore[misc]
        attach(self, None)

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        if _record(self).reduction not in _serving:
            raise UnsupportedError(
                "the KV cache was filled under a reduction that has ended; continue it inside the "
                "`with` block that filled it"
            )
        sizes: tuple[int, int] = super().get_mask_sizes(*args, **kwargs)  # type: ignore[misc]
        return sizes

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name != _NOTES}
        return _bare, (type(self).__mro__[2],), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        take_note(self)

    def _follow(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        setattr(self, _RECORD, _record(self).mapped(None, change))
        take_note(self)


def attach(cache: Any, record: PrefillRecord | None) -> None:
    """Let a cache that a prefill has just filled follow what is done to it.

    Args:
        cache: Its class changes to a subclass of the same name, back again without a record.
        record: What the prefill left; `None` if it removed nothing.
    """
    kind = type(cache)
    own = kind.__mro__[2] if issubclass(kind, _Following) else kind
    for name in (_RECORD, _NOTES):
        vars(cache).pop(name, None)
    cache.__class__ = own if record is None else _following(own)
    if record is not None:
        setattr(cache, _RECORD, record)
        take_note(cache)


def take_note(cache: Any) -> None:
    """Note what a cache with reduced layers holds, so that nobody changes it behind its back."""
    if isinstance(cache, _Following) and not getattr(cache, "offloading", False):
        keys = [getattr(layer, "keys", None) for layer in cache.layers]
        notes = [None if one is None else weakref.ref(one) for one in keys]
        setattr(cache, _NOTES, notes)


def is_as_noted(cache: Any) -> bool:
    """Whether each layer still holds the tensors that were noted last."""
    notes = getattr(cache, _NOTES, None)
    if notes is None or len(notes) != len(cache.layers):
        return notes is None
    held = zip(notes, cache.layers, strict=True)
    return all(note is None or note() is layer.keys for note, layer in held)


@contextmanager
def serving(reduction: str) -> Iterator[None]:
    """Context in which the caches of a reduction can be continued."""
    _serving.add(reduction)
    try:
        yield
    finally:
        _serving.discard(reduction)


def record_of(cache: Any, reduction: str) -> PrefillRecord | None:
    """What `reduction` left in a cache; `None` if it removed nothing there."""
    record: PrefillRecord | None = getattr(cache, _RECORD, None)
    return record if record is not None and record.reduction == reduction else None


def _record(cache: Any) -> PrefillRecord:
    record: PrefillRecord = getattr(cache, _RECORD)
    return record


@cache
def _following(kind: type) -> type:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (_Following, kind), {**names, "__doc__": kind.__doc__})


def _bare(kind: type) -> Any:
    return object.__new__(_following(kind))
