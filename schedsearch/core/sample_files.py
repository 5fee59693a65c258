"""What a JSONL file of samples consists of: itself, and the images that it names."""

import json
from pathlib import Path

from schedsearch.core.reading import read_file
from schedsearch.errors import DataError, InputError


def read_whole(path: Path) -> bytes:
    """The content of a file that travels.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return read_file(path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); check path and permissions") from None


def images_of_rows(samples: Path, content: bytes) -> list[str]:
    """The images that a JSONL file names, each once, in its order.

    Args:
        samples: The file, for messages.
        content: What is in it.

    Raises:
        DataError: A line is none that names images.
    """
    found: dict[str, None] = {}
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        try:
            row = json.loads(line.decode("utf-8-sig"))
            named = [row["image"]] if "image" in row else row["images"]
            found |= dict.fromkeys(name for name in named if isinstance(name, str))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                f"{samples}:{number}: the line must be a JSON object with `image` or `images`; "
                "correct it"
            ) from None
    return list(found)


def image_inside(samples: Path, images: Path, name: str) -> Path:
    """The file of an image, which nothing outside of the folder may be.

    Args:
        samples: The file that names it, for messages.
        images: The folder.
        name: What the file says.

    Raises:
        DataError: It lies elsewhere.
    """
    folder = images.resolve()
    found = (folder / name).resolve() if "\0" not in name else Path("/")
    if not found.is_relative_to(folder):
        raise DataError(
            f"{samples}: images must lie in {images}, but got {name!r:.200}; move the image there"
        )
    return found
