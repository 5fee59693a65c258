"""How the vision tokens of a prompt lie over what the vision tower sees."""

from typing import NamedTuple

import torch

from schedsearch.core.sample import Grid


class TokenGrid(NamedTuple):
    """Vision tokens that stand for the cells of one image or tile, row by row.

    Attributes:
        grid: Rows and columns of tokens.
        pixels: `(3, height, width)` that they stand for, normalised; None for an image of the
            sample as a whole, whatever size it is brought to.
    """

    grid: Grid
    pixels: torch.Tensor | None


def grids_over(pixels: torch.Tensor, cell: float) -> list[TokenGrid]:
    """One grid for each image or tile, of square cells.

    Args:
        pixels: `(..., 3, height, width)` normalised, in the order of the tokens.
        cell: Pixels along the side of what one token stands for.
    """
    height, width = pixels.shape[-2:]
    grid = Grid(round(height / cell), round(width / cell))
    return [TokenGrid(grid, one) for one in pixels.flatten(0, -4)]
