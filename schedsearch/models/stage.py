"""The tokens that run through a layer, in absolute columns of the padded batch.

A *stage* is the set of tokens that runs through the layers between two cuts. Its rows are
padded on the left with -1 where samples keep different numbers of tokens.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Stage:
    """Tokens alive between two cuts.

    Attributes:
        positions: `(batch, kept)` long, ascending columns of the unreduced batch; -1 is padding.
        ragged: Whether any row is padded.
    """

    positions: torch.Tensor
    ragged: bool

    @property
    def alive(self) -> torch.Tensor:
        """`(batch, kept)` bool: False at padding."""
        return self.positions >= 0

    @property
    def columns(self) -> torch.Tensor:
        """`positions` with padding pointed at column 0, fit for `gather`."""
        return self.positions.clamp(min=0)

    def scatter(self, values: torch.Tensor, width: int, fill: float | bool) -> torch.Tensor:
        """Put `(batch, kept)` values back into `(batch, width)`, `fill` elsewhere."""
        full = values.new_full((values.shape[0], width + 1), fill)
        target = self.positions.where(self.alive, width)
        return full.scatter(1, target, values)[:, :width]


def gather_rows(states: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Select `(batch, n)` columns of `(batch or 1, sequence, features)`."""
    if states.shape[0] != columns.shape[0]:
        states = states.expand(columns.shape[0], -1, -1)
    return states.gather(1, columns[..., None].expand(-1, -1, states.shape[-1]))
