"""Images from files, programs and memory, as models see them: upright and RGB."""

import hashlib
import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from schedsearch.core.sample import ImageSource
from schedsearch.errors import DataError


def open_image(source: ImageSource) -> Image.Image:
    """Open or draw an image, upright and RGB.

    Raises:
        DataError: The file is missing or broken, or the function returned no image.
    """
    if isinstance(source, Path):
        return _upright(decode(read_bytes(source, "image"), str(source)))
    image = source()
    if not isinstance(image, Image.Image):
        raise DataError(
            f"an image source must return a PIL image, but got {type(image).__name__}; convert it"
        )
    return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation that cameras store beside the pixels, as transformers does."""
    return ImageOps.exif_transpose(image).convert("RGB")


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
        raise DataError(
            f"image {name} cannot be decoded: {error}; replace the file, or remove the sample"
        ) from None
    return image


def image_key(image: Image.Image) -> str:
    """SHA-256 (hex) of an image's size and pixels."""
    header = f"{image.mode} {image.size}".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


def read_bytes(path: Path, what: str) -> bytes:
    """Content of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{what} {path} cannot be read: {reason}; correct the path") from None
