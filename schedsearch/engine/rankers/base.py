"""The interface of rankers."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from schedsearch.engine.prompt import Prompt


class Ranker(ABC):
    """Orders the vision tokens of each sample; the best-scored ones stay.

    Attributes:
        reads_attention: Whether scores come from the attention of the layer before the drop;
            then `query_rows` says whose attention.
    """

    reads_attention: ClassVar[bool] = False

    def query_rows(self, prompt: Prompt) -> torch.Tensor:
        """`(batch, sequence)` bool: rows whose attention is averaged."""
        raise NotImplementedError(f"{type(self).__name__} reads no attention")

    @abstractmethod
    def scores(
        self,
        prompt: Prompt,
        candidates: torch.Tensor,
        counts: torch.Tensor,
        attention: torch.Tensor | None,
    ) -> torch.Tensor:
        """Score tokens; larger stays longer, ties go to the earlier token.

        Args:
            prompt: The batch.
            candidates: `(batch, sequence)` bool, vision tokens still alive.
            counts: `(batch,)` long, how many of them will stay.
            attention: `(batch, sequence)` float32 mean attention over heads and `query_rows`
                in the layer before; `None` if the ranker reads none.

        Returns:
            `(batch, sequence)` float32; values outside `candidates` are ignored.
        """


class AttentionRanker(Ranker):
    """Scores a token by the attention that text pays to it in the layer before (2412.00556)."""

    reads_attention = True

    def scores(
        self,
        prompt: Prompt,  # noqa: ARG002
        candidates: torch.Tensor,  # noqa: ARG002
        counts: torch.Tensor,  # noqa: ARG002
        attention: torch.Tensor | None,
    ) -> torch.Tensor:
        """The attention itself."""
        assert attention is not None
        return attention
