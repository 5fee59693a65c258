"""Images as one small picture, without a model."""

import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, features

from schedsearch.core.exhibit import PICTURE_BYTES, Box
from schedsearch.errors import UnsupportedError

_SIDE, _SHEET_SIDE = 256, 512
"""Pixels of the longer side: of one image or tile, of a sheet of several."""

_GAP = 4
"""Pixels between the images of a sheet."""

_WAYS: tuple[dict[str, Any], ...] = (
    {"lossless": True},
    *({"quality": quality} for quality in (85, 70, 50, 30, 10)),
)
"""How WebP is asked for, the first that is small enough."""


def sheet_of(images: Sequence[Image.Image]) -> tuple[Image.Image, list[Box]]:
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


def encoded(sheet: Image.Image) -> tuple[bytes, tuple[int, int]]:
    """WebP of at most `PICTURE_BYTES`, its width and height.

    Raises:
        UnsupportedError: Pillow cannot write WebP.
    """
    if not features.check("webp"):
        raise UnsupportedError(
            "pictures are stored as WebP, which this Pillow was built without; install a wheel of "
            "it: pip install --force-reinstall pillow"
        )
    while True:
        for way in _WAYS:
            raw = io.BytesIO()
            sheet.save(raw, "WEBP", **way)
            if raw.tell() <= PICTURE_BYTES:
                return raw.getvalue(), sheet.size
        sheet = _within(sheet, max(sheet.size) // 2)
