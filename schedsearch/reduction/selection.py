"""Choosing the tokens of a stage, and masks that fit it: pure functions on tensors."""

import torch

from schedsearch.models.stage import Stage


def keep_top(scores: torch.Tensor, candidates: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Mark the best-scored candidates of each row; ties go to the earlier column.

    Args:
        scores: `(batch, sequence)` float, larger is better.
        candidates: `(batch, sequence)` bool.
        counts: `(batch,)` long, how many to keep.

    Returns:
        `(batch, sequence)` bool with `min(count, candidates)` True entries in each row.
    """
    # A candidate may have -inf, as the logarithm of nothing, and still comes before all others.
    lowest = torch.finfo(scores.dtype).min
    ranked = scores.clamp(min=lowest).masked_fill(~candidates, float("-inf"))
    order = ranked.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    return candidates & (rank < counts[:, None])


def stage_of(kept: torch.Tensor, lengths: tuple[int, ...]) -> Stage:
    """Stage that holds the marked columns in their order.

    Args:
        kept: `(batch, sequence)` bool.
        lengths: Marked columns of each row; known on the host, so that no device waits for it.
    """
    size = max(lengths)
    ragged = min(lengths) != size
    ordered = kept.logical_not().byte().argsort(dim=1, stable=True)[:, :size]
    if not ragged:
        return Stage(ordered, ragged=False)
    missing = size - torch.tensor(lengths, device=kept.device)[:, None]
    shifted = torch.arange(size, device=kept.device) - missing
    positions = ordered.gather(1, shifted.clamp(min=0)).masked_fill(shifted < 0, -1)
    return Stage(positions, ragged=True)


def local_columns(stage: Stage, wanted: torch.Tensor, width: int) -> torch.Tensor:
    """Where `wanted` absolute columns `(batch, n)` lie inside a stage."""
    places = torch.arange(stage.positions.shape[1], device=wanted.device)
    inverse = stage.scatter(places.expand_as(stage.positions), width, 0)
    return inverse.gather(1, wanted)


def gather_mask(mask: torch.Tensor, stage: Stage) -> torch.Tensor:
    """Reduce a `(batch or 1, heads or 1, sequence, sequence)` mask to the tokens of a stage.

    Padded rows keep an unmasked diagonal: a fully masked row would give NaN.
    """
    columns, size = stage.columns, stage.positions.shape[1]
    mask = mask.expand(columns.shape[0], -1, -1, -1)
    rows = columns[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3])
    cells = columns[:, None, None, :].expand(-1, mask.shape[1], size, -1)
    mask = mask.gather(2, rows).gather(3, cells)
    return mask_padding(mask, stage) if stage.ragged else mask


def causal_mask(stage: Stage) -> torch.Tensor:
    """`(batch, 1, kept, kept)` bool causal mask of a padded stage."""
    columns = stage.columns
    return mask_padding(columns[:, None, :, None] >= columns[:, None, None, :], stage)


def mask_padding(mask: torch.Tensor, stage: Stage) -> torch.Tensor:
    """Hide padded keys, and let padded rows see themselves only."""
    hidden = ~stage.alive[:, None, None, :]
    size = stage.positions.shape[1]
    own = torch.eye(size, dtype=torch.bool, device=mask.device) & ~stage.alive[:, None, :, None]
    if mask.dtype == torch.bool:
        return (mask & ~hidden) | own
    lowest = torch.finfo(mask.dtype).min
    return mask.masked_fill(hidden, lowest).masked_fill(own, 0.0)
