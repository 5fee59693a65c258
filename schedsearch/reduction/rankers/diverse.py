"""Greedy max-min diversity of the vision tokens, before the first layer."""

import torch
from torch.nn.functional import normalize

from schedsearch.models.prompt import Prompt
from schedsearch.reduction.rankers.base import EarlyRanker
from schedsearch.reduction.selection import stage_of

_CHUNK = 256
_STEP = 2.0**-16
"""Distances are told apart in such steps: rounding, 1e-7, would order equal tokens by chance."""


class DiverseRanker(EarlyRanker):
    """The token that is farthest from all chosen ones comes next.

    Distance is 1 - cosine of the features that enter layer 0, over all images of a sample. The
    first token is the one whose nearest other is farthest. Ties, to 2^-16, go by index. Fewer
    tokens are a subset of more. Needs neither text nor attention; costs n^2 D + n k D multiply-adds
    for k of n tokens of width D.
    Source: DivPrune, arXiv 2503.02175.
    """

    def order(
        self,
        prompt: Prompt,
        features: torch.Tensor,
        tower: torch.Tensor | None,  # noqa: ARG002
        most: int,
    ) -> torch.Tensor:
        """Minus the place in the greedy order; tokens after the first `most` share the last."""
        batch, width = prompt.shape
        stage = stage_of(prompt.vision, prompt.n_vision)
        index = stage.columns[..., None].expand(-1, -1, features.shape[-1])
        directions = normalize(features.gather(1, index).float(), dim=-1)
        directions = directions.masked_fill(~stage.alive[..., None], 0.0)
        size = stage.positions.shape[1]
        places = torch.full((batch, size), float(size), device=features.device)
        gap = _nearest_other(directions, stage.alive)
        for place in range(min(most, size)):
            chosen = gap.argmax(1, keepdim=True)
            places.scatter_(1, chosen, float(place))
            own = directions.gather(1, chosen[..., None].expand(-1, -1, directions.shape[-1]))
            distance = _distance(directions, own)[..., 0]
            gap = distance if place == 0 else torch.minimum(gap, distance)
            # Where a row has no token left, all are -1, and column 0, its padding, is taken again.
            gap = gap.masked_fill((places < size) | ~stage.alive, -1.0)
        return stage.scatter(-places, width, float("-inf"))


def _distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Steps of cosine distance `(batch, n, m)` of directions `(batch, n or m, width)`."""
    return ((1 - left @ right.transpose(1, 2)) / _STEP).round()


def _nearest_other(directions: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Distance of each token to its nearest other, `(batch, n)`; -1 at padding."""
    size = directions.shape[1]
    found = []
    for start in range(0, size, _CHUNK):
        rows = torch.arange(start, min(start + _CHUNK, size), device=directions.device)
        distance = _distance(directions[:, rows], directions)
        own = rows[:, None] == torch.arange(size, device=directions.device)
        found.append(distance.masked_fill(own | ~alive[:, None], float("inf")).amin(2))
    return torch.cat(found, 1).masked_fill(~alive, -1.0)
