"""Small pictures of what a model sees, with the places of its vision tokens in them."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from schedsearch.core.exhibit import TokenView
from schedsearch.evaluation.sheet import encoded, sheet_of
from schedsearch.models.layout import TokenGrid


def picture_of(
    layout: Sequence[TokenGrid] | None,
    images: Sequence[Image.Image],
    n_vision: int,
    image_processor: Any,
) -> tuple[bytes, tuple[int, int], tuple[TokenView, ...]]:
    """A picture of a prompt's images or tiles, as the vision tower sees them where that is known.

    Args:
        layout: Where the vision tokens lie; None where that is not known.
        images: Those of the sample.
        n_vision: Vision tokens of the prompt.
        image_processor: Says how pixels were normalised.

    Returns:
        WebP of at most `PICTURE_BYTES`, its width and height, and the vision tokens in their order.

    Raises:
        UnsupportedError: Pillow cannot write WebP.
    """
    seen: list[Image.Image] = []
    for number, one in enumerate(layout or ()):
        whole = images[number] if number < len(images) else None
        shown = whole if one.pixels is None else _image(one.pixels, image_processor)
        if shown is None:
            break
        seen.append(shown)
    grids = [one.grid for one in layout or ()]
    if not grids or len(seen) < len(grids) or sum(one.tokens for one in grids) != n_vision:
        sheet, _ = sheet_of(images)
        return *encoded(sheet), (TokenView(1, n_vision, None),)
    sheet, boxes = sheet_of(seen)
    views = [
        TokenView(grid.rows, grid.columns, box) for grid, box in zip(grids, boxes, strict=True)
    ]
    return *encoded(sheet), tuple(views)


def _image(pixels: torch.Tensor, image_processor: Any) -> Image.Image:
    """The image that normalised `(3, height, width)` pixels come from."""
    values = pixels.detach().float().cpu()
    if getattr(image_processor, "do_normalize", True):
        mean, std = (
            torch.tensor(getattr(image_processor, name, None) or [default] * 3)[:, None, None]
            for name, default in (("image_mean", 0.0), ("image_std", 1.0))
        )
        values = values * std + mean
    raw = (values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return Image.fromarray(raw.contiguous().numpy())
