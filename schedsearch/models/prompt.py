"""A prompt in the padded batch: which columns are vision, which are padding, where it ends."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schedsearch.core.shown import shown
from schedsearch.errors import InputError, UnsupportedError

_IGNORED = -100
"""Label of what has no part in the loss, as transformers reads it."""


@dataclass(frozen=True)
class Prompt:
    """What the prefill saw, in absolute columns of the padded batch.

    Attributes:
        vision: `(batch, sequence)` bool, vision tokens.
        valid: `(batch, sequence)` bool, everything that is not padding.
        last_row: `(batch,)` long, column of the last prompt token of each row. What stands
            after it is a teacher-forced answer and never ranks.
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
        lengths: Column after each row's last prompt token, padding included; for batches that
            hold teacher-forced answers.
        keys: One per row, or one per group of equal rows (beams); default: a hash of the
            prompt's tokens, so that padding and batch do not matter.
        width: Columns that belong to the prompt where every row ends in the same column.

    Raises:
        InputError: `lengths` or `keys` do not fit the batch.
    """
    valid = torch.ones_like(vision) if attention_mask is None else attention_mask.bool()
    columns = torch.arange(vision.shape[1], device=vision.device)
    if lengths is None:
        ends = columns < (vision.shape[1] if width is None else width)
        last_row = ((valid & ends) * columns).argmax(1)
    else:
        last_row = _last_rows(lengths, vision, valid)
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


def lengths_from_labels(
    labels: torch.Tensor, vision: torch.Tensor, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """Where prompts end, told by their labels: before the first that is not ignored.

    Args:
        labels: `(batch, sequence)`, -100 where nothing is to be predicted.
        vision: `(batch, sequence)` bool.
        attention_mask: `(batch, sequence)`, zero at padding; `None` where there is none.

    Returns:
        `(batch,)` as `lengths` of `make_prompt`: the whole row where it has no vision token or no
        label.

    Raises:
        UnsupportedError: Labels begin before, or right after, the last vision token of a row.
    """
    if labels.shape != vision.shape:
        raise _untold(f"have shape {tuple(labels.shape)} and the tokens {tuple(vision.shape)}")
    valid = torch.ones_like(vision) if attention_mask is None else attention_mask.bool()
    columns = torch.arange(vision.shape[1], device=vision.device)
    whole = (valid * (columns + 1)).amax(1)
    labelled = valid & (labels.to(vision.device) != _IGNORED)
    first = labelled.int().argmax(1)
    ranked = (vision & valid).any(1) & labelled.any(1)
    behind_vision = (vision & valid).mul(columns + 1).amax(1)
    before = valid.gather(1, (first - 1).clamp(min=0)[:, None])[:, 0]
    untold = ranked & ~(before & (first > behind_vision))
    if bool(untold.any()):
        row = int(untold.int().argmax())
        raise _untold(
            f"of row {row} begin at column {int(first[row])}, and no text stands between the last "
            f"vision token, at column {int(behind_vision[row]) - 1}, and them"
        )
    return first.where(ranked, whole)


def check_labels(
    labels: torch.Tensor, vision: torch.Tensor, attention_mask: torch.Tensor | None
) -> None:
    """Refuse labels that a removed token would have to predict.

    Args:
        labels: As for `lengths_from_labels`.
        vision: As for `lengths_from_labels`.
        attention_mask: As for `lengths_from_labels`.

    Raises:
        UnsupportedError: One stands right after a vision token.
    """
    valid = torch.ones_like(vision) if attention_mask is None else attention_mask.bool()
    labelled = valid & (labels.to(vision.device) != _IGNORED)
    lost = labelled[:, 1:] & (vision & valid)[:, :-1]
    if bool(lost.any()):
        row, column = (int(one) for one in lost.nonzero()[0])
        raise UnsupportedError(
            f"`labels` ask in row {row} for column {column + 1} to be predicted by the vision "
            f"token before it, which may be removed; label what follows a vision token with "
            f"{_IGNORED}"
        )


def _untold(found: str) -> UnsupportedError:
    return UnsupportedError(
        f"`labels` must tell where each prompt ends, but they {found}; label the prompt with "
        f"{_IGNORED}, or call `Reduction.prompt(lengths=...)` before"
    )


def _last_rows(
    lengths: Sequence[int] | torch.Tensor, vision: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    rows, width = valid.shape
    try:
        last_row = torch.as_tensor(lengths, device=valid.device).long() - 1
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"`lengths` must be numbers of columns, but got {shown(lengths)}"
        ) from error
    if last_row.shape != (rows,):
        found = last_row.numel() if last_row.dim() == 1 else f"shape {tuple(last_row.shape)}"
        raise InputError(
            f"`lengths` must have one entry for each of {rows} rows, but got {found}; pass the "
            "prompt length of every row"
        )
    columns = torch.arange(width, device=valid.device)
    text = valid & (columns >= (vision & valid).mul(columns + 1).amax(1, keepdim=True))
    fits = (columns == last_row[:, None]).logical_and(text).any(1)
    if not bool(fits.all()):
        row = int(fits.int().argmin())
        raise InputError(
            "`lengths` must point after a text token that follows all vision tokens of its row, "
            f"but got {int(last_row[row]) + 1} in row {row}; count the columns of the padded row "
            "up to the end of its prompt"
        )
    return last_row


def _row_keys(
    keys: Sequence[str] | None, input_ids: torch.Tensor, own: torch.Tensor
) -> tuple[str, ...]:
    rows = input_ids.shape[0]
    if keys is None:
        host, mask = input_ids.cpu(), own.cpu()
        tokens = (host[row][mask[row]].tolist() for row in range(rows))
        return tuple(hashlib.sha256(repr(row).encode()).hexdigest() for row in tokens)
    if not keys or rows % len(keys):
        raise InputError(
            f"`keys` must name each of {rows} rows, or each group of beams, but got {len(keys)}; "
            "pass one key per sample"
        )
    return tuple(key for key in keys for _ in range(rows // len(keys)))
