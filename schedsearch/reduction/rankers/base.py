"""The interface of rankers."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from schedsearch.models.prompt import Prompt


class Ranker(ABC):
    """Orders the vision tokens of each sample; the best-scored ones stay.

    Attributes:
        reads_attention: Whether scores come from the attention of the layer before the cut;
            then `query_rows` says whose attention.
        reads_tower: Whether `order` needs the attention of the vision tower.
    """

    reads_attention: ClassVar[bool] = False
    reads_tower: ClassVar[bool] = False

    def query_rows(self, prompt: Prompt) -> torch.Tensor:
        """`(batch, sequence)` bool: rows whose attention is averaged."""
        raise NotImplementedError(f"{type(self).__name__} reads no attention")

    def order(
        self,
        prompt: Prompt,  # noqa: ARG002
        features: torch.Tensor,  # noqa: ARG002
        tower: torch.Tensor | None,  # noqa: ARG002
        most: int,  # noqa: ARG002
    ) -> torch.Tensor | None:
        """Order the tokens once, before layer 0; `None`, the default, leaves it to every cut.

        Args:
            prompt: The batch.
            features: `(batch, sequence, hidden)` that enter layer 0.
            tower: `(batch, sequence)` float32 logarithm of the attention in the vision tower;
                `None` unless `reads_tower`.
            most: Most vision tokens that will stay in any row; the others need no order.

        Returns:
            `(batch, sequence)` float32 scores that hold at every cut.
        """
        return None

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
            attention: `(batch, sequence)` float32 logarithm of the mean attention over heads and
                `query_rows` in the layer before, or what `order` returned; `None` if there is
                neither.

        Returns:
            `(batch, sequence)` float32; values outside `candidates` are ignored.
        """


class GivenRanker(Ranker):
    """Scores are what was read or computed before: the `attention` that `scores` is handed."""

    def scores(
        self,
        prompt: Prompt,  # noqa: ARG002
        candidates: torch.Tensor,  # noqa: ARG002
        counts: torch.Tensor,  # noqa: ARG002
        attention: torch.Tensor | None,
    ) -> torch.Tensor:
        """What was handed in."""
        assert attention is not None
        return attention


class AttentionRanker(GivenRanker):
    """Scores a token by the attention that text pays to it in the layer before (2412.00556)."""

    reads_attention = True


class EarlyRanker(GivenRanker):
    """Ranks before layer 0, so it may remove there too; every later cut goes by the same order."""
