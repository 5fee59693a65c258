"""Random order: the baseline every ranker has to beat."""

import hashlib

import torch

from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import Ranker


class RandomRanker(Ranker):
    """One random order per sample, the same in every layer, batch and process.

    Args:
        seed: Another seed gives another order for every sample.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def scores(
        self,
        prompt: Prompt,
        candidates: torch.Tensor,
        counts: torch.Tensor,  # noqa: ARG002
        attention: torch.Tensor | None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Uniform numbers drawn from a generator seeded by the sample's key."""
        scores = torch.zeros(prompt.shape, dtype=torch.float32)
        vision = prompt.vision.cpu()
        for row, key in enumerate(prompt.keys):
            digest = hashlib.sha256(f"{self.seed}|{key}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            scores[row, vision[row]] = torch.rand(prompt.n_vision[row], generator=generator)
        return scores.to(candidates.device)
