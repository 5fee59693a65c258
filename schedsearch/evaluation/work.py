"""What batches cost, by the formulas of core."""

from collections.abc import Sequence

from schedsearch.core.flops import DecoderShape, layer_flops
from schedsearch.core.trial import Work
from schedsearch.evaluation.encoding import Row


def work_of(
    shape: DecoderShape, batch: Sequence[Row], counts: Sequence[int], first: int = 0
) -> Work:
    """Work of the layers from `first` on.

    Args:
        shape: The decoder.
        batch: Rows of one bucket.
        counts: Vision tokens of each layer.
        first: The first layer that runs.
    """
    others = batch[0].width - batch[0].prompt.n_vision
    flops = sum(layer_flops(shape, count + others) for count in counts[first:])
    return Work(len(batch) * flops, len(batch) * (len(counts) - first))


def full_work_of(shape: DecoderShape, batch: Sequence[Row]) -> Work:
    """Work of a batch whose layers all keep everything."""
    return work_of(shape, batch, [batch[0].prompt.n_vision] * shape.layers)
