"""A prompt in the padded batch: which columns are vision, which are padding, where it ends."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schedsearch.errors import UnsupportedError


@dataclass(frozen=True)
class Prompt:
    """What the prefill saw, in absolute columns of the padded batch.

    Attributes:
        vision: `(batch, sequence)` bool, vision tokens.
        valid: `(batch, sequence)` bool, everything that is not padding.
        last_row: `(batch,)` long, column of the last prompt token of each row. What stands
            behind it is a teacher-forced answer and never ranks.
        keys: One string per row, equal for equal samples; seeds whatever is random.
        n_vision: Vision tokens of each row.
        n_other: Remaining valid tokens of each row.
    """

    vision: torch.Tensor
    valid: torch.Tensor
    last_row: torch.Tensor
    keys: tuple[str, ...]
    n_vision: tuple[int, ...]
    n_other: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and padded columns."""
        return self.vision.shape[0], self.vision.shape[1]


def make_prompt(
    input_ids: torch.Tensor,
    vision: torch.Tensor,
    attention_mask: torch.Tensor | None,
    lengths: Sequence[int] | torch.Tensor | None = None,
    keys: Sequence[str] | None = None,
    width: int | None = None,
) -> Prompt:
    """Describe a batch of prompts.

    Args:
        input_ids: `(batch, sequence)` token ids.
        vision: `(batch, sequence)` bool.
        attention_mask: `(batch, sequence)`, zero at padding; `None` where there is none.
        lengths: Column behind each row's last prompt token, padding included; for batches that
            hold teacher-forced answers.
        keys: One per row, or one per group of equal rows (beams); default: a hash of the
            prompt's tokens, so that padding and batch do not matter.
        width: Columns that belong to the prompt where every row ends in the same column.

    Raises:
        UnsupportedError: The attention mask is not two-dimensional.
        ValueError: `lengths` or `keys` do not fit the batch.
    """
    if attention_mask is None:
        valid = torch.ones_like(vision)
    elif isinstance(attention_mask, torch.Tensor) and attention_mask.dim() == 2:
        valid = attention_mask.bool()
    else:
        raise UnsupportedError(
            "a prepared 4-D attention mask hides which tokens are padding; pass the 2-D "
            "`attention_mask` of the processor"
        )
    columns = torch.arange(vision.shape[1], device=vision.device)
    if lengths is None:
        ends = columns < (vision.shape[1] if width is None else width)
        last_row = ((valid & ends) * columns).argmax(1)
    else:
        last_row = torch.as_tensor(lengths, device=vision.device).long() - 1
        if last_row.shape != (vision.shape[0],):
            raise ValueError(f"expected {vision.shape[0]} prompt lengths, but got {len(lengths)}")
    vision = vision & valid & (columns <= last_row[:, None])
    n_vision = vision.sum(1)
    n_other = valid.sum(1) - n_vision
    return Prompt(
        vision=vision,
        valid=valid,
        last_row=last_row,
        keys=_row_keys(keys, input_ids, valid & (columns <= last_row[:, None])),
        n_vision=tuple(n_vision.tolist()),
        n_other=tuple(n_other.tolist()),
    )


def _row_keys(
    keys: Sequence[str] | None, input_ids: torch.Tensor, own: torch.Tensor
) -> tuple[str, ...]:
    rows = input_ids.shape[0]
    if keys is None:
        host, mask = input_ids.cpu(), own.cpu()
        tokens = (host[row][mask[row]].tolist() for row in range(rows))
        return tuple(hashlib.sha256(repr(row).encode()).hexdigest() for row in tokens)
    if not keys or rows % len(keys):
        raise ValueError(f"{len(keys)} sample keys do not fit a batch of {rows} rows")
    return tuple(key for key in keys for _ in range(rows // len(keys)))
