"""Attention with coverage: the best token of every neighbourhood comes before any second best."""

import torch

from schedsearch.core.shown import shown
from schedsearch.errors import ScheduleError
from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import Ranker
from schedsearch.reduction.rankers.last import LastRanker
from schedsearch.reduction.rankers.text import TextRanker


class LocalRanker(Ranker):
    """Orders tokens by their place within a window of neighbours, then by attention.

    What the model will look up next gets no attention yet, so attention alone removes it.
    Neighbours carry much of the same content; keeping one of each loses less. Counts above
    1 / `window` cover the whole image; below that, attention decides which neighbourhoods leave.

    Differs: arXiv 2412.00556 ranks by attention alone.

    Args:
        window: Consecutive vision tokens, in raster order, that form a neighbourhood.
        rows: Whose attention: `last`, or `text`, as the rankers of these names.
    """

    reads_attention = True

    def __init__(self, window: int = 2, rows: str = "text") -> None:
        if not isinstance(window, int) or window < 1:
            raise ScheduleError(f"`window` must be a number of tokens, but got {shown(window)}")
        if rows not in ("last", "text"):
            raise ScheduleError(f"`rows` must be last or text, but got {shown(rows)}")
        self.window = window
        self.rows = rows
        self._attention = LastRanker() if rows == "last" else TextRanker()

    def query_rows(self, prompt: Prompt) -> torch.Tensor:
        """Rows of the ranker that `rows` names."""
        return self._attention.query_rows(prompt)

    def scores(
        self,
        prompt: Prompt,
        candidates: torch.Tensor,
        counts: torch.Tensor,  # noqa: ARG002
        attention: torch.Tensor | None,
    ) -> torch.Tensor:
        """Minus the place within the window, then minus the place in all, as a share."""
        assert attention is not None
        batch, longest = prompt.shape[0], max(prompt.n_vision)
        padded = -(-longest // self.window) * self.window
        # Column `padded` of the table takes what is no vision token.
        ordinals = (prompt.vision.cumsum(1) - 1).where(prompt.vision, padded)
        gone = float("-inf")
        alive = attention.clamp(min=torch.finfo(attention.dtype).min).masked_fill(~candidates, gone)
        table = alive.new_full((batch, padded + 1), gone).scatter(1, ordinals, alive)
        windows = table[:, :padded].view(batch, -1, self.window)
        order = windows.argsort(dim=2, descending=True, stable=True)
        places = order.argsort(dim=2).view(batch, padded)
        place = places.gather(1, ordinals.clamp(max=padded - 1))
        best_first = alive.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return -best_first / alive.shape[1] - place
