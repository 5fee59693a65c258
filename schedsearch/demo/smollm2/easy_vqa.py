"""easy-VQA: a public visual question set (Zhou 2019, MIT), as its package carries it.

Training never sees the last 500 images of its "train" part: validation, calibration and certify are
cut from them. Held-out is its "test" part, whole.
"""

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from schedsearch.core.sample import Split
from schedsearch.demo.smollm2 import package_folder
from schedsearch.errors import DataError

# Part of the package, first image, images.
_PARTS: dict[Split, tuple[str, int, int]] = {
    "train": ("train", 0, 3500),
    "validation": ("train", 3500, 100),
    "calibration": ("train", 3600, 200),
    "certify": ("train", 3800, 200),
    "held-out": ("test", 0, 1000),
}


@dataclass(frozen=True)
class EasyImage:
    """One image of the set and what is asked about it; opened when called."""

    part: str
    number: int
    questions: tuple[tuple[str, str], ...]

    def __call__(self) -> Image.Image:
        """The image, RGB, 64 x 64 pixels."""
        with Image.open(_folder() / self.part / "images" / f"{self.number}.png") as image:
            return image.convert("RGB")


@cache
def easy_images(split: Split) -> tuple[EasyImage, ...]:
    """All images of a split, with their questions and answers in a random but fixed order.

    Raises:
        InputError: The package is not installed.
        DataError: Its files cannot be read.
    """
    part, first, count = _PARTS[split]
    file = _folder() / part / "questions.json"
    try:
        rows: list[tuple[str, str, int]] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); install easy-vqa again") from error
    asked: dict[int, list[tuple[str, str]]] = {}
    for question, answer, number in rows:
        asked.setdefault(number, []).append((question, answer))
    found = []
    for number in range(first, first + count):
        random.Random(f"{part}/{number}").shuffle(asked[number])
        found.append(EasyImage(part, number, tuple(asked[number])))
    return tuple(found)


def _folder() -> Path:
    return package_folder("easy_vqa") / "data"
