"""Small pictures of what a model sees, with the places of its vision tokens in them."""

import io
import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, features

from schedsearch.core.exhibit import PICTURE_BYTES, Box, TokenView
from schedsearch.errors import UnsupportedError
from schedsearch.models.layout import TokenGrid

_SIDE, _SHEET_SIDE = 256, 512
"""Pixels of the longer side: of one image or tile, of a sheet of several."""

_GAP = 4
"""Pixels between the images of a sheet."""

_WAYS: tuple[dict[str, Any], ...] = (
    {"lossless": True},
    *({"quality": quality} for quality in (85, 70, 50, 30, 10)),
)
"""How WebP is asked for, the first that is small enough."""


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
    if not features.check("webp"):
        raise UnsupportedError(
            "pictures are stored as WebP, which this Pillow was built without; install a wheel of "
            "it: pip install --force-reinstall pillow"
        )
    seen: list[Image.Image] = []
    for number, one in enumerate(layout or ()):
        whole = images[number] if number < len(images) else None
        shown = whole if one.pixels is None else _image(one.pixels, image_processor)
        if shown is None:
            break
        seen.append(shown)
    grids = [one.grid for one in layout or ()]
    if not grids or len(seen) < len(grids) or sum(one.tokens for one in grids) != n_vision:
        sheet, _ = _sheet(list(images))
        return *_encoded(sheet), (TokenView(1, n_vision, None),)
    sheet, boxes = _sheet(seen)
    views = [
        TokenView(grid.rows, grid.columns, box) for grid, box in zip(grids, boxes, strict=True)
    ]
    return *_encoded(sheet), tuple(views)


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


def _sheet(images: Sequence[Image.Image]) -> tuple[Image.Image, list[Box]]:
    """All images on one, row by row, and where each of them is."""
    across = math.ceil(math.sqrt(len(images)))
    if across == 1:
        return _within(images[0], _SIDE), [Box(0.0, 0.0, 1.0, 1.0)]
    side = _SHEET_SIDE // across - _GAP
    small = [_within(image, max(1, side)) for image in images]
    width = max(one.width for one in small) + _GAP
    height = max(one.height for one in small) + _GAP
    down = math.ceil(len(small) / across)
    sheet = Image.new("RGB", (across * width - _GAP, down * height - _GAP), "white")
    boxes = []
    for number, one in enumerate(small):
        left, top = number % across * width, number // across * height
        sheet.paste(one, (left, top))
        shares = (left / sheet.width, top / sheet.height)
        boxes.append(Box(*shares, one.width / sheet.width, one.height / sheet.height))
    return sheet, boxes


def _within(image: Image.Image, side: int) -> Image.Image:
    """The image, made smaller where a side is longer."""
    share = side / max(image.size)
    if share >= 1:
        return image
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))


def _encoded(sheet: Image.Image) -> tuple[bytes, tuple[int, int]]:
    while True:
        for way in _WAYS:
            raw = io.BytesIO()
            sheet.save(raw, "WEBP", **way)
            if raw.tell() <= PICTURE_BYTES:
                return raw.getvalue(), sheet.size
        sheet = _within(sheet, max(sheet.size) // 2)
