"""Batches of equal rows, sized to memory: no padding, and nothing lost when memory runs out."""

import gc
import logging
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import nn

from schedsearch.core.flops import DecoderShape
from schedsearch.core.shown import shown
from schedsearch.errors import InputError, MemoryShortError, RunError
from schedsearch.evaluation.device import device_failures, is_out_of_memory
from schedsearch.models.adapters import adapter_for

_CPU_BYTES = 32 << 20
_MAX_ROWS = 64

log = logging.getLogger(__name__)


class Batchable(Protocol):
    """A row of a batch."""

    @property
    def sample_id(self) -> str:
        """Names the row in errors."""

    @property
    def width(self) -> int:
        """Tokens of the row."""

    @property
    def bucket(self) -> Hashable:
        """Rows of equal bucket, and hence equal width, can share a batch without padding."""


R = TypeVar("R", bound=Batchable)
T = TypeVar("T")


@dataclass
class BatchSize:
    """How much goes into a batch; remembers what did not fit.

    Attributes:
        rows: No batch has more rows.
        tokens: No batch has more tokens, unless it is a single row.
    """

    rows: int
    tokens: int = sys.maxsize

    @classmethod
    def choose(cls, model: nn.Module, rows: int | None) -> "BatchSize":
        """At most `rows` rows; where it is `None`, what suits the model and its device.

        Raises:
            InputError: `rows` is below 1.
        """
        if rows is None:
            weights = next(model.parameters())
            shape = adapter_for(model).shape(model)
            return cls.automatic(shape, weights.device, weights.element_size())
        if rows < 1:
            raise InputError(
                f"`batch_size` must be at least 1, but got {rows}; leave it out for automatic"
            )
        return cls(rows)

    @classmethod
    def automatic(cls, shape: DecoderShape, device: torch.device, value_bytes: int) -> "BatchSize":
        """First guess from the activations of one decoder layer.

        It depends on the model and the memory, never on a clock: the same machine forms the same
        batches, so the same model object gives the same scores to the last bit.

        Args:
            shape: The decoder.
            device: Where it runs. Half of a GPU's free memory is used; on the CPU 32 MiB, since
                larger batches only leave its caches.
            value_bytes: Bytes of one value.
        """
        attention = 2 * (shape.heads + shape.kv_heads) * shape.head_dim
        token = (4 * shape.hidden_size + attention + 3 * shape.mlp_size) * value_bytes
        free = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _CPU_BYTES
        return cls(_MAX_ROWS, max(1, free // (2 * token)))

    def fitting(self, width: int) -> int:
        """Rows of `width` tokens that make a batch; at least 1."""
        return max(1, min(self.rows, self.tokens // width))

    def shrink(self, rows: int, width: int) -> None:
        """Take note that `rows` rows of `width` tokens did not fit."""
        self.tokens = rows * width // 2


def buckets_of(rows: Iterable[R]) -> list[list[R]]:
    """Rows that can share a batch, in order of first appearance."""
    buckets: dict[Hashable, list[R]] = {}
    for row in rows:
        buckets.setdefault(row.bucket, []).append(row)
    return list(buckets.values())


def run_in_batches(
    rows: Iterable[R],
    size: BatchSize,
    run: Callable[[Sequence[R]], Sequence[T]],
    relieve: Callable[[], bool] = lambda: False,
) -> Iterator[list[tuple[R, T]]]:
    """Run all rows in buckets, the longest first, and yield each batch with its results.

    A batch that does not fit into memory is tried again, once memory has been relieved or at half
    its size; what ran before stays.

    Args:
        rows: In any order; each is run successfully once.
        size: Shrinks on out-of-memory, and stays so.
        run: Gets rows of one bucket and returns one result per row.
        relieve: Gives up memory that is not needed, and says whether there was any.

    Raises:
        MemoryShortError: A single row does not fit; the message names its sample.
        RunError: The model failed; the message names samples.
        DeviceError: The device failed.
    """
    for bucket in sorted(buckets_of(rows), key=lambda members: -members[0].width):
        start = 0
        while start < len(bucket):
            batch = bucket[start : start + size.fitting(bucket[0].width)]
            results = _attempt(batch, run)
            if results is not None:
                yield list(zip(batch, results, strict=True))
                start += len(batch)
                continue
            relieved = relieve()
            _release_memory()
            if relieved:
                continue
            if len(batch) == 1:
                raise MemoryShortError(
                    f"sample {shown(batch[0].sample_id)} with {batch[0].width} tokens does not fit "
                    "into memory alone; use a smaller dtype, a smaller image or a larger device"
                )
            size.shrink(len(batch), batch[0].width)
            log.warning(
                "%d rows of %d tokens did not fit into memory; going on with half",
                len(batch),
                batch[0].width,
            )


def _attempt(batch: Sequence[R], run: Callable[[Sequence[R]], Sequence[T]]) -> Sequence[T] | None:
    """Results, or `None` if memory ran out."""
    try:
        with device_failures():
            return run(batch)
    except (RuntimeError, ValueError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        ids = ", ".join(row.sample_id for row in batch[:3])
        more = f" and {len(batch) - 3} more" if len(batch) > 3 else ""
        raise RunError(
            f"the model failed on samples {ids}{more}: {error}; check that the processor belongs "
            "to the model"
        ) from error


def _release_memory() -> None:
    """Give cached blocks back, so that the next, smaller batch finds them in one piece."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
