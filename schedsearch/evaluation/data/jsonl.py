"""Sample sets from disk: a JSONL file of questions beside a folder of images.

One line is one sample:

    {"id": "q1", "question": "What is on the table?", "answer": "a cup", "image": "1.jpg"}

`answers` and `images` hold lists instead; `id` and `kind` may be left out, and the answer too where
the metric compares with the full model. An answer that is a number is taken as it stands: 2.50 is
the text "2.50". A key may be given once. Images are files below the image folder, never addresses
(`https:`, `data:`); `schedsearch.evaluation.data.images` says what becomes of 16 bits, alpha and
the like.

Everything is checked when the set is made, each image down to its last byte: a search must not find
a truncated file after an hour.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from schedsearch.core.canonical import digest, unique_keys
from schedsearch.core.reading import OnProgress, counted, read_bytes
from schedsearch.core.sample import Portable, Sample, Split
from schedsearch.core.shown import shown
from schedsearch.errors import DataError, InputError
from schedsearch.evaluation.data.images import (
    decode,
    image_key,
    is_deep,
    open_image,
    upright,
)
from schedsearch.evaluation.data.rows import (
    Number,
    check_keys,
    read_rows,
    refuse_address,
    sample_of,
    text_of,
)


class JsonlSet(Portable):
    """Samples of a JSONL file, in its order; images are opened when they are needed.

    Args:
        path: The file, UTF-8, one JSON object per line. A sample without `id` is called by its
            line number.
        images: Folder that image paths are relative to, and must stay inside; default: the
            folder of the file.
        name: What reports call the set; default: the file's name without its suffix.
        split: Which of the five disjoint uses the set serves.
        on_progress: Told how many lines are read, of how many.

    Raises:
        DataError: The file, a line or an image cannot be used. The message names file and line,
            what was found and the remedy, and counts the others that have faults.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        name: str | None = None,
        split: Split = "calibration",
        on_progress: OnProgress | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        self.split: Split = split
        folder = Path(images) if images is not None else self.path.parent
        if not os.path.isdir(folder):
            raise DataError(f"the image folder {folder} does not exist; name an existing folder")
        self._samples, self._digest = _read(self.path, Path(os.path.realpath(folder)), on_progress)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def digest(self) -> str:
        """SHA-256 over ids, questions, answers, kinds and the bytes of the images, in order."""
        return self._digest


def sample_key(sample: Sample, images: Sequence[Image.Image] | None = None) -> str:
    """SHA-256 (hex) of question, answers and pixels: equal in every set that holds the sample.

    Args:
        sample: The sample.
        images: Its images, where they are open already.

    Raises:
        DataError: An image is missing or broken.
    """
    opened = images or [open_image(source) for source in sample.images]
    pixels = [image_key(image) for image in opened]
    return digest([sample.question, list(sample.answers), pixels])


def _read(
    path: Path, folder: Path, on_progress: OnProgress | None
) -> tuple[tuple[Sample, ...], str]:
    def source(key: str, value: object) -> Path:
        return _image_path(text_of(key, value), folder)

    samples, content = read_rows(
        (
            (f"{path}:{n}", (n, line))
            for n, line in enumerate(counted(_lines(path), on_progress), start=1)
        ),
        lambda numbered: sample_of(_fields(numbered[1]), numbered[0], source),
        lambda sample: _content(sample, folder),
        "line",
    )
    return samples, digest(content)


def _lines(path: Path) -> list[str]:
    raw = read_bytes(path, "sample file", pipes=True)
    try:
        # The byte-order mark that some editors write is no part of the first line.
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{number}: the file must be UTF-8, but got byte {raw[error.start]:#04x}; "
            "save it as UTF-8"
        ) from None
    if not text.strip():
        raise DataError(f"{path} is empty; write one JSON object per line")
    # Not splitlines(): a JSON text may hold U+2028 and its kin unescaped.
    return text.removesuffix("\n").split("\n")


def _fields(line: str) -> dict[str, Any]:
    if not line.strip():
        raise DataError("the line is empty; remove it, or write a sample there")
    try:
        fields = json.loads(
            line, object_pairs_hook=unique_keys, parse_int=Number, parse_float=Number
        )
    except InputError as error:
        raise DataError(str(error)) from None
    except ValueError as error:
        raise DataError(f"the line is not JSON: {error}; write one object per line") from None
    except RecursionError:
        raise DataError("the line is nested too deeply; write a flat object") from None
    if not isinstance(fields, dict):
        raise DataError(
            f"a line must hold a JSON object, but got {type(fields).__name__}; "
            'write {"question": ..., "answer": ..., "image": ...}'
        )
    check_keys(fields)
    return fields


def _image_path(name: str, folder: Path) -> Path:
    refuse_address(name)
    if "\0" in name:
        raise DataError(f"image {shown(name)} is no file name; correct the path")
    # Not resolve(), which raises where links lead in a circle; reading says so.
    path = Path(os.path.realpath(folder / name))
    if not path.is_relative_to(folder):
        raise DataError(
            f"image {shown(name)} lies outside the image folder; copy it there, or name another "
            "folder"
        )
    return path


def _content(sample: Sample, folder: Path) -> list[Any]:
    """What the set's digest covers of a sample; decodes the images on the way."""
    images = []
    for path in sample.images:
        assert isinstance(path, Path)
        raw = read_bytes(path, "image")
        name = str(path.relative_to(folder))
        image = decode(raw, name, size=1)
        if is_deep(image):
            upright(image, name)
        images.append(hashlib.sha256(raw).hexdigest())
    return [sample.id, sample.question, sample.answers, sample.kind, images]
