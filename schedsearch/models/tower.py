"""How a vision tower is read: where its attention is, and which patches become which token."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from schedsearch.errors import UnsupportedError

Given = Mapping[str, Any]
"""Arguments of one call of the tower, by name."""


@dataclass(frozen=True)
class Tower:
    """How to read a vision tower.

    Attributes:
        module: Called for all images, then for all videos, of a batch.
        attention: Self-attention of the layer whose features the decoder gets.
        class_token: Whether a class token stands before the patches of each image.
        to_tokens: From `(images, patches)` scores and the tower's arguments to one score for each
            vision token, in the order of their placeholders.
        blocks: Patches of each image, where one row holds them all; default: rows are images.
    """

    module: nn.Module
    attention: nn.Module
    class_token: bool
    to_tokens: Callable[[torch.Tensor, Given], torch.Tensor]
    blocks: Callable[[Given], Sequence[int]] | None = None


def feature_layer(layer: Any, layers: Sequence[nn.Module], architecture: str) -> nn.Module:
    """The tower's layer whose output is `hidden_states[layer]`.

    Raises:
        UnsupportedError: Features of several layers are joined, or of none.
    """
    index = layer - 1 if isinstance(layer, int) and layer > 0 else layer
    if not isinstance(layer, int) or layer == 0:
        raise unclear(architecture, f"features come from layers {layer!r} of the vision tower")
    return layers[index]


def unclear(architecture: str, why: str) -> UnsupportedError:
    """Error for towers whose attention says nothing, or nothing clear, of the vision tokens."""
    return UnsupportedError(
        f"the ranker tower does not serve {architecture}: {why}; use the ranker diverse"
    )
