"""Pixtral's vision tower, which several families share."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.nn.functional import avg_pool2d

from schedsearch.core.sample import Grid
from schedsearch.models.layout import TokenGrid
from schedsearch.models.tower import Given, Tower, feature_layer


def pixtral_tower(module: Any, layer: Any, merge: int, architecture: str) -> Tower:
    """The tower for images of any size in one row; squares of `merge` patches become a token.

    Raises:
        UnsupportedError: Features come from several layers.
    """
    chosen: Any = feature_layer(layer, list(module.transformer.layers), architecture)
    patch = module.patch_size

    def blocks(given: Given) -> list[int]:
        return [height * width for height, width in _grids(given, patch)]

    to_tokens = partial(_merged, patch=patch, merge=merge)
    return Tower(module, chosen.attention, False, to_tokens, blocks)


def pixtral_layout(
    inputs: Mapping[str, torch.Tensor], patch: int, merge: int = 1
) -> list[TokenGrid]:
    """A token for each square of `merge` patches, images padded to the greatest of the prompt."""
    cell = patch * merge
    sizes = [(height * patch, width * patch) for height, width in _grids(inputs, patch)]
    return [
        TokenGrid(Grid(height // cell, width // cell), pixels[:, :height, :width])
        for pixels, (height, width) in zip(inputs["pixel_values"], sizes, strict=True)
    ]


def _grids(given: Given, patch: int) -> list[tuple[int, int]]:
    """Rows and columns of patches of each image."""
    sizes = given.get("image_sizes")
    if sizes is None:
        images, _, height, width = given["pixel_values"].shape
        sizes = [(height, width)] * images
    return [(int(height) // patch, int(width) // patch) for height, width in sizes]


def _merged(scores: torch.Tensor, given: Given, patch: int, merge: int) -> torch.Tensor:
    grids = _grids(given, patch)
    images = torch.split(scores[0], [height * width for height, width in grids])
    pooled = [
        avg_pool2d(image.view(1, 1, *grid), merge)
        for image, grid in zip(images, grids, strict=True)
    ]
    return torch.cat([image.flatten() for image in pooled])
