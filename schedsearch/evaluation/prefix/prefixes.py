"""Prefix reuse: what evaluations of a batch have in common is computed once.

A batch keeps what its decoder was given, so that the vision tower runs once, and the states that
entered some of its layers. A schedule that agrees with an earlier one up to such a layer goes on
from there. Batches are the same with and without reuse, so scores agree to the last bit.
"""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

from schedsearch.core.schedule import RankerSpec
from schedsearch.evaluation.device import is_out_of_memory
from schedsearch.evaluation.prefix.memory import Held, Opaque, make_tiers
from schedsearch.evaluation.prefix.replay import Base, record, replay
from schedsearch.models.adapters import adapter_for
from schedsearch.models.wrappers import input_device
from schedsearch.reduction.prefill import Passage, Snapshot
from schedsearch.reduction.reduction import Reduction

T = TypeVar("T")
Inputs = Mapping[str, torch.Tensor]
Key = tuple[Hashable, ...]
"""The rows of a batch in their order."""

_STALE_SCANS = 8


@dataclass(frozen=True)
class _Kept:
    """A kept snapshot, and the schedules it belongs to.

    Attributes:
        held: The `Snapshot`.
        counts: Vision tokens of the layers before it.
        ranker: Who chose them, and whose attention is noted.
        attention: Whether any is noted.
    """

    held: Held
    counts: tuple[int, ...]
    ranker: RankerSpec
    attention: bool

    def agrees(self, reduction: Reduction, counts: tuple[int, ...], n_vision: int) -> bool:
        """Whether the layers before do the same under another schedule."""
        if self.counts != counts[: len(self.counts)]:
            return False
        return self.ranker == reduction.schedule.ranker or self.counts[-1] == n_vision

    def serves(self, reduction: Reduction) -> bool:
        """Whether what agrees also knows the attention that a cut right here needs."""
        if not reduction.needs_attention(len(self.counts)):
            return True
        return self.attention and self.ranker == reduction.schedule.ranker


@dataclass
class _Batch:
    """What is kept of a batch.

    Attributes:
        base: The `Base`.
        used: How many samples had been asked for when it was last run.
        deeper: Snapshots by layer.
        orders: What rankers made of the tokens before layer 0.
    """

    base: Held
    used: int
    deeper: dict[int, _Kept] = field(default_factory=dict)
    orders: dict[RankerSpec, Held] = field(default_factory=dict)


class Prefixes:
    """What is kept of the batches of one evaluator.

    What came first stays when memory is full, because scans are cyclic: evicting the oldest would
    evict each batch just before it is needed again. Only batches that whole scans have passed by
    make room; they are never formed any more.

    Args:
        model: A multimodal model with an adapter.
        max_bytes: Bound on what is kept, in device and host memory together; 0 keeps nothing.
            Default: see `make_tiers`.
        scan: Samples of one pass over the set.

    Attributes:
        peak: Most bytes ever held.

    Raises:
        InputError: The bound is negative.
    """

    def __init__(self, model: nn.Module, max_bytes: int | None, scan: int) -> None:
        self._model = model
        self._adapter = adapter_for(model)
        self._device = input_device(model)
        self._tiers = make_tiers(self._device, max_bytes)
        self._batches: dict[Key, _Batch] = {}  # the one not used for longest comes first
        self._patience = _STALE_SCANS * scan
        self._asked = 0
        self.peak = 0

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return sum(tier.used for tier in self._tiers)

    @property
    def bound(self) -> int:
        """Bytes that may be held."""
        return sum(tier.bound for tier in self._tiers)

    def begin(self, samples: int) -> None:
        """Note that a task asks for so many samples."""
        self._asked += samples

    def preparing(self, reduction: Reduction, shared: int) -> AbstractContextManager[None]:
        """To surround the run of a batch: notes what its snapshot needs."""
        return reduction.observing(_before(shared, reduction) if self.bound else 0)

    def run(
        self,
        reduction: Reduction,
        key: Key,
        counts: tuple[int, ...],
        shared: int,
        encode: Callable[[], Inputs],
        forward: Callable[[Inputs], T],
    ) -> tuple[T, int]:
        """Run a batch from the deepest layer that an earlier run prepared.

        Args:
            reduction: The schedule at work.
            key: The batch.
            counts: Vision tokens of each layer under the schedule.
            shared: Leading layers whose counts later runs will probably share.
            encode: Makes the model's arguments, and describes the prompt to `reduction`.
            forward: Runs the model once, without cache.

        Returns:
            What `forward` returned, and the first layer that ran.
        """
        take, ranker = _before(shared, reduction), reduction.schedule.ranker
        if reduction.ranker.reads_tower and key in self._batches:
            if ranker not in self._batches[key].orders:  # a replay would not run the tower
                self._forget_batch(key)
        batch = self._batches.pop(key, None)
        if batch is None:
            return self._run_all(reduction, key, counts, take, encode, forward), 0
        self._batches[key] = batch
        base: Base = batch.base.on(self._device)
        batch.used = self._asked
        for layer, kept in list(batch.deeper.items()):
            if not kept.agrees(reduction, counts, base.prompt.n_vision[0]):
                self._forget(batch, layer)
        usable = [layer for layer, kept in batch.deeper.items() if kept.serves(reduction)]
        first = max(usable, default=0)
        start: Snapshot | None = batch.deeper[first].held.on(self._device) if first else None
        order = batch.orders[ranker].on(self._device) if ranker in batch.orders else None
        passage = Passage(base.prompt, start, take if take > first else 0, shared=True, order=order)
        reduction.follow(passage)
        with replay(self._model, self._adapter, base, first):
            result = forward({"input_ids": base.input_ids})
        self._keep(batch, passage, counts, ranker)
        return result, first

    def relieve(self) -> bool:
        """Forget everything, hold less on the device from now on; False if nothing was held."""
        if not self._batches:
            return False
        for key in list(self._batches):
            self._forget_batch(key)
        self._tiers[0].bound //= 2
        return True

    def _run_all(
        self,
        reduction: Reduction,
        key: Key,
        counts: tuple[int, ...],
        take: int,
        encode: Callable[[], Inputs],
        forward: Callable[[Inputs], T],
    ) -> T:
        inputs = encode()
        passage = Passage(take=take, shared=True)
        reduction.follow(passage)
        with record(self._model, self._adapter) as recording:
            result = forward(inputs)
        assert passage.prompt is not None
        base = recording.base(passage.prompt, inputs["input_ids"])
        held = self._hold(base) if base is not None else None
        if held is not None:
            batch = self._batches[key] = _Batch(held, self._asked)
            self._keep(batch, passage, counts, reduction.schedule.ranker)
        return result

    def _keep(
        self,
        batch: _Batch,
        passage: Passage,
        counts: tuple[int, ...],
        ranker: RankerSpec,
    ) -> None:
        """Keep order and snapshot; for it the batch's own others give way, the shallowest first."""
        if passage.order is not None and ranker not in batch.orders:
            order = self._hold(passage.order)
            if order is not None:
                batch.orders[ranker] = order
        taken = passage.taken
        if taken is None:
            return
        self._forget(batch, taken.layer)
        while (held := self._hold(taken)) is None:
            if not batch.deeper:
                return
            self._forget(batch, min(batch.deeper))
        before, attention = counts[: taken.layer], taken.attention is not None
        batch.deeper[taken.layer] = _Kept(held, before, ranker, attention)

    def _hold(self, value: Any) -> Held | None:
        """Hold a value where there is room, or can be; reuse is never worth a failure."""
        try:
            while True:
                for tier in self._tiers:
                    held = tier.hold(value)
                    if held is not None:
                        self.peak = max(self.peak, self.bytes)
                        return held
                oldest = next(iter(self._batches), None)
                if oldest is None or not self._is_stale(self._batches[oldest]):
                    return None
                self._forget_batch(oldest)
        except Opaque:
            return None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _is_stale(self, batch: _Batch) -> bool:
        return self._asked - batch.used > self._patience

    def _forget_batch(self, key: Key) -> None:
        batch = self._batches.pop(key)
        for layer in list(batch.deeper):
            self._forget(batch, layer)
        for order in batch.orders.values():
            order.release()
        batch.base.release()

    @staticmethod
    def _forget(batch: _Batch, layer: int) -> None:
        kept = batch.deeper.pop(layer, None)
        if kept is not None:
            kept.held.release()


def _before(shared: int, reduction: Reduction) -> int:
    """Layer that runs with `shared` leading layers in common enter; the last one at most."""
    return min(shared, reduction.schedule.layers - 1)
