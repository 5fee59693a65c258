"""Images as models see them: upright, RGB, 8 bits a channel, and nothing lost in silence.

Pillow cuts what lies above 255 when it converts deeper samples, so these are scaled by their range
where file or mode state it, and refused where nothing does:

- 16-bit greyscale by 65,535; a TIFF by its bits per sample, so that 12 bits end at 4,095, and
  inverted where it says that white is zero. PNG, JPEG 2000 and PGM come from Pillow as 16 bits,
  whatever depth they had; of other formats, such as FITS, the range is not known.
- 32-bit floats and integers, and signed 16 bits, by the TIFF tags SMinSampleValue and
  SMaxSampleValue; in memory, and in files without them, they have no range.
- 16-bit colour reaches us as its upper 8 bits.

The rest loses nothing that a model could see: the orientation that cameras store is applied,
palettes are looked up, CMYK, YCbCr, HSV and LAB are converted, without colour profiles. Alpha is
dropped, not blended: what shows is the colour stored beneath, also where a pixel, or a
transparent entry of a palette, is invisible. Of an animation, the first frame is read.
"""

import hashlib
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from schedsearch.core.reading import read_bytes
from schedsearch.core.sample import ImageBytes, ImageSource
from schedsearch.errors import DataError

_EIGHT_BITS = frozenset(
    ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
)
_SIXTEEN_BITS = frozenset(("I;16", "I;16B", "I;16L", "I;16N"))
# Made in memory, or of a format whose 16 bits are the whole range.
_WHOLE_RANGE = (None, "PNG", "TIFF", "JPEG2000")
_BITS, _PHOTOMETRIC, _LEAST, _GREATEST = 258, 262, 340, 341
_WHITE_IS_ZERO = 0


def open_image(source: ImageSource) -> Image.Image:
    """Open or draw an image, upright and RGB.

    Raises:
        DataError: The file is missing or broken, the range of its values is not known, or the
            function returned no image.
    """
    if isinstance(source, Path):
        source = ImageBytes(str(source), read_bytes(source, "image"))
    if isinstance(source, ImageBytes):
        return upright(decode(source.raw, source.name), source.name)
    image = source()
    if not isinstance(image, Image.Image):
        raise DataError(
            f"an image source must return a PIL image, but got {type(image).__name__}; convert it"
        )
    return upright(image)


def upright(image: Image.Image, name: str = "in memory") -> Image.Image:
    """Apply the orientation that cameras store beside the pixels, and convert to RGB.

    Args:
        image: Opened by Pillow or made in memory; it stays as it is.
        name: What errors call it.

    Raises:
        DataError: The image cannot be decoded, or the range of its values is not known.
    """
    span = None if image.mode in _EIGHT_BITS else _span(image, name)
    try:
        # A copy knows nothing of the file that it comes from.
        turned = ImageOps.exif_transpose(image)
        if span is not None:
            turned = _scaled(turned, span, name)
        elif turned.mode == "La":  # Pillow knows no direct way
            turned = turned.convert("LA")
        return turned.convert("RGB")
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise _undecodable(name, error) from None


def is_deep(image: Image.Image) -> bool:
    """Say whether an image has more than 8 bits a channel, so that its range must be known."""
    return image.mode not in _EIGHT_BITS


def decode(raw: bytes, name: str, size: int | None = None) -> Image.Image:
    """Decode all of an image; JPEGs at a fraction of the cost if `size` pixels are enough.

    Raises:
        DataError: The bytes are no image, or a broken one.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(raw))
        if size is not None:
            image.draft("RGB", (size, size))
        image.load()
    except UnidentifiedImageError:
        raise DataError(
            f"image {name} is in no format that Pillow knows; replace the file, or remove the "
            "sample"
        ) from None
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise _undecodable(name, error) from None
    return image


def image_key(image: Image.Image) -> str:
    """SHA-256 (hex) of an image's size and pixels."""
    header = f"{image.mode} {image.size}".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


def _undecodable(name: str, error: Exception) -> DataError:
    return DataError(
        f"image {name} cannot be decoded: {error}; replace the file, or remove the sample"
    )


def _span(image: Image.Image, name: str) -> tuple[float, float]:
    """What stands for black and for white."""
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if image.mode in _SIXTEEN_BITS and image.format in _WHOLE_RANGE:
        span = 0.0, 2.0 ** tags.get(_BITS, (16,))[0] - 1
    elif image.mode == "I" and image.format == "PPM":
        span = 0.0, 65535.0
    else:
        span = _stated(tags.get(_LEAST)), _stated(tags.get(_GREATEST))
        if not span[0] < span[1]:
            kind = "32-bit floats" if image.mode == "F" else f"values of Pillow's mode {image.mode}"
            raise DataError(
                f"image {name} must have values of a known range, but got {kind} without one; "
                "scale them to 0..255 and save 8 bits a channel, or state the range in the TIFF "
                "tags SMinSampleValue and SMaxSampleValue"
            )
    return span[::-1] if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else span


def _stated(value: object) -> float:
    """A tag's number; not a number where the tag is missing, or states several or none."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _scaled(image: Image.Image, span: tuple[float, float], name: str) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    black, white = span
    low, high = sorted(span)
    least, greatest = values.min(), values.max()
    if not (low <= least and greatest <= high):
        raise DataError(
            f"image {name} must have values in {low:g}..{high:g}, the range that its file states, "
            f"but got {least:g}..{greatest:g}; correct the range, or save 8 bits a channel"
        )
    return Image.fromarray(np.rint((values - black) / (white - black) * 255).astype(np.uint8))
