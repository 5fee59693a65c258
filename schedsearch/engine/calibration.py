"""Sample sets from disk: a JSONL file of questions beside a folder of images.

One line is one sample:

    {"id": "q1", "question": "What is on the table?", "answer": "a cup", "image": "1.jpg"}

`answers` and `images` hold lists instead; `id` and `kind` may be left out, and the answer too where
the metric compares with the full model. Everything is checked when the set is made, each image
down to its last byte: a search must not find a truncated file after an hour.
"""

import difflib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from schedsearch.core.canonical import digest
from schedsearch.core.sample import ImageSource, Sample, Split
from schedsearch.errors import DataError

KEYS = ("id", "question", "answer", "answers", "image", "images", "kind")
_SHOWN = 5


class JsonlSet:
    """Samples of a JSONL file, in its order; images are opened when they are needed.

    Args:
        path: The file, UTF-8, one JSON object per line. A sample without `id` is called by its
            line number.
        images: Folder that image paths are relative to, and must stay inside; default: the
            folder of the file.
        name: What reports call the set; default: the file's name without its suffix.
        split: Which of the four disjoint uses the set serves.

    Raises:
        DataError: The file, a line or an image cannot be used. The message names file and line,
            of the first few where there are several, what was found, and the remedy.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        name: str | None = None,
        split: Split = "calibration",
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        self.split: Split = split
        folder = Path(images) if images is not None else self.path.parent
        if not folder.is_dir():
            raise DataError(f"the image folder {folder} does not exist; name an existing folder")
        self._samples, self._digest = _read(self.path, folder.resolve())

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def digest(self) -> str:
        """SHA-256 over ids, questions, answers, kinds and the bytes of the images, in order."""
        return self._digest


def open_image(source: ImageSource) -> Image.Image:
    """Open or draw an image, upright and RGB.

    Raises:
        DataError: The file is missing or broken, or the function returned no image.
    """
    if isinstance(source, Path):
        return _upright(_decode(_read_bytes(source, "image"), str(source)))
    image = source()
    if not isinstance(image, Image.Image):
        raise DataError(
            f"an image source must return a PIL image, but got {type(image).__name__}; convert it"
        )
    return _upright(image)


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


def image_key(image: Image.Image) -> str:
    """SHA-256 (hex) of an image's size and pixels."""
    header = f"{image.mode} {image.size}".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation that cameras store beside the pixels, as transformers does."""
    return ImageOps.exif_transpose(image).convert("RGB")


def _read(path: Path, folder: Path) -> tuple[tuple[Sample, ...], str]:
    lines = _lines(path)
    samples: dict[str, Sample] = {}
    content: list[Any] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            sample = _sample(_fields(line), number, folder)
            if sample.id in samples:
                raise DataError(
                    f"`id` {sample.id!r} stands on an earlier line too; give every sample its own"
                )
            samples[sample.id] = sample
            content.append(_content(sample, folder))
        except DataError as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        hidden = len(faults) - _SHOWN
        more = [f"... and {hidden} more lines with faults"] if hidden > 0 else []
        raise DataError("\n".join([*faults[:_SHOWN], *more]))
    return tuple(samples.values()), digest(content)


def _lines(path: Path) -> list[str]:
    raw = _read_bytes(path, "sample file")
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
        fields = json.loads(line)
    except ValueError as error:
        raise DataError(f"the line is not JSON: {error}; write one object per line") from None
    except RecursionError:
        raise DataError("the line is nested too deeply; write a flat object") from None
    if not isinstance(fields, dict):
        raise DataError(
            f"a line must hold a JSON object, but got {type(fields).__name__}; "
            'write {"question": ..., "answer": ..., "image": ...}'
        )
    for key in fields:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(KEYS)}"
            raise DataError(f"`{key}` is not a key of a sample; {hint}")
    return fields


def _sample(fields: Mapping[str, Any], number: int, folder: Path) -> Sample:
    names = _texts(fields, "image", "images", "without an image there are no vision tokens")
    return Sample(
        id=_id(fields.get("id", str(number))),
        question=_text("question", fields.get("question")),
        answers=_answers(fields),
        images=tuple(_image_path(name, folder) for name in names),
        kind=_text("kind", fields["kind"]) if "kind" in fields else "",
    )


def _id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text("id", value)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if value is None else repr(value)
        raise DataError(f"`{key}` must be a text that is not empty, but got {found}; write one")
    return value


def _answers(fields: Mapping[str, Any]) -> tuple[str, ...]:
    if "answer" not in fields and "answers" not in fields:
        return ()
    return _texts(fields, "answer", "answers", "the metric compares with it")


def _texts(fields: Mapping[str, Any], one: str, many: str, reason: str) -> tuple[str, ...]:
    if (one in fields) == (many in fields):
        found = "both" if one in fields else "neither"
        raise DataError(
            f"a sample must have either `{one}` or `{many}`, but got {found}; {reason}: give one"
        )
    if one in fields:
        return (_text(one, fields[one]),)
    values = fields[many]
    if not isinstance(values, list) or not values:
        raise DataError(
            f"`{many}` must be a list that is not empty, but got {values!r}; {reason}: name one"
        )
    return tuple(_text(many, value) for value in values)


def _image_path(name: str, folder: Path) -> Path:
    if "\0" in name:
        raise DataError(f"image {name!r} is no file name; correct the path")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise DataError(
            f"image {name!r} lies outside the image folder; copy it there, or name another folder"
        )
    return path


def _content(sample: Sample, folder: Path) -> list[Any]:
    """What the set's digest covers of a sample; decodes the images on the way."""
    images = []
    for path in sample.images:
        assert isinstance(path, Path)
        raw = _read_bytes(path, "image")
        _decode(raw, str(path.relative_to(folder)), size=1)
        images.append(hashlib.sha256(raw).hexdigest())
    return [sample.id, sample.question, sample.answers, sample.kind, images]


def _read_bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{what} {path} cannot be read: {reason}; correct the path") from None


def _decode(raw: bytes, name: str, size: int | None = None) -> Image.Image:
    """Decode all of an image; JPEGs at a fraction of the cost if `size` pixels are enough."""
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
