"""Scenes of coloured shapes and digits on a grid, and how they become pixels.

A scene is a pure function of an integer key. Keys of different splits never meet, and the split is
also written into the lowest bits of one pixel, so two splits cannot share an image.
"""

import random
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image, ImageDraw

from schedsearch.core.sample import Split
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

GRID = 4
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 225),
    "yellow": (235, 205, 40),
    "purple": (160, 60, 190),
    "cyan": (40, 200, 210),
}
SHAPES = ("circle", "square", "triangle", "cross")
DIGITS = tuple("0123456789")
THINGS = SHAPES + DIGITS
SPLITS: tuple[Split, ...] = ("train", "validation", "calibration", "held-out", "certify")

_INDEX_BITS = 48
_SEED_BITS = 32
_SHAPE_SHARE = 0.55

# Rows of five dots, top to bottom: drawn by hand because font files differ between machines.
_GLYPHS = {
    "0": ("01110", "10001", "10011", "10101", "11001", "10001", "01110"),
    "1": ("00100", "01100", "00100", "00100", "00100", "00100", "01110"),
    "2": ("01110", "10001", "00001", "00110", "01000", "10000", "11111"),
    "3": ("11111", "00010", "00100", "00010", "00001", "10001", "01110"),
    "4": ("00010", "00110", "01010", "10010", "11111", "00010", "00010"),
    "5": ("11111", "10000", "11110", "00001", "00001", "10001", "01110"),
    "6": ("00110", "01000", "10000", "11110", "10001", "10001", "01110"),
    "7": ("11111", "00001", "00010", "00100", "01000", "01000", "01000"),
    "8": ("01110", "10001", "10001", "01110", "10001", "10001", "01110"),
    "9": ("01110", "10001", "10001", "01111", "00001", "00010", "01100"),
}


@dataclass(frozen=True)
class Item:
    """One coloured shape or digit in a cell; digits come in one size, so `big` is theirs never."""

    row: int
    column: int
    color: str
    thing: str
    big: bool

    @property
    def cell(self) -> str:
        """Name of the cell: column letter, then row number, counted from the top left."""
        return cell_name(self.row, self.column)

    @property
    def label(self) -> str:
        """Colour and thing, which together are unique within a scene."""
        return f"{self.color} {self.thing}"


@dataclass(frozen=True)
class Scene:
    """Items on the grid; no two share a cell, and no two share both colour and thing.

    `colors` and `shapes` are all that items of such scenes can have.
    """

    items: tuple[Item, ...]
    colors: tuple[str, ...] = tuple(COLORS)
    shapes: tuple[str, ...] = SHAPES

    @cached_property
    def by_cell(self) -> dict[tuple[int, int], Item]:
        """Items by (row, column)."""
        return {(item.row, item.column): item for item in self.items}


def cell_name(row: int, column: int) -> str:
    """Name of a cell, "a1" at the top left."""
    return f"{'abcdefgh'[column]}{row + 1}"


def cell_names() -> list[str]:
    """Names of all cells in reading order."""
    return [cell_name(row, column) for row in range(GRID) for column in range(GRID)]


def scene_key(split: Split, index: int, seed: int = 0) -> int:
    """Integer that determines everything about one image: (split, seed, index) in disjoint bits.

    Raises:
        InputError: If the split is unknown or a number does not fit its bits.
    """
    if split not in SPLITS:
        raise InputError(f"`split` must be one of {', '.join(SPLITS)}, but got {shown(split)}")
    if not 0 <= index < 1 << _INDEX_BITS:
        raise InputError(f"`index` must be in [0, 2^{_INDEX_BITS}), but got {shown(index)}")
    if not 0 <= seed < 1 << _SEED_BITS:
        raise InputError(f"`seed` must be in [0, 2^{_SEED_BITS}), but got {shown(seed)}")
    return (SPLITS.index(split) << _SEED_BITS | seed) << _INDEX_BITS | index


def arrange(rng: random.Random, fewest: int = 6, most: int = 10) -> Scene:
    """A random scene with between `fewest` and `most` items."""
    items: list[Item] = []
    taken: set[tuple[str, str]] = set()
    for cell in rng.sample(range(GRID * GRID), rng.randint(fewest, most)):
        while True:
            color = rng.choice(tuple(COLORS))
            thing = rng.choice(SHAPES if rng.random() < _SHAPE_SHARE else DIGITS)
            if (color, thing) not in taken:
                break
        taken.add((color, thing))
        big = thing in SHAPES and rng.random() < 0.5
        items.append(Item(cell // GRID, cell % GRID, color, thing, big))
    return Scene(tuple(items))


def render(scene: Scene, key: int, size: int = 64) -> Image.Image:
    """The scene as an RGB image of `size` x `size` pixels; noise, tint and jitter follow `key`.

    Raises:
        InputError: If `size` is not a multiple of the grid or too small to draw digits.
    """
    if size % GRID or size < 12 * GRID:
        raise InputError(
            f"`size` must be a multiple of {GRID} and at least {12 * GRID} pixels, but got {size}"
        )
    noise = np.random.default_rng(key)
    image = Image.fromarray(_background(noise, size))
    pen = ImageDraw.Draw(image)
    for item in scene.items:
        shifted = zip(COLORS[item.color], noise.integers(-18, 19, 3).tolist(), strict=True)
        red, green, blue = (min(255, max(0, level + shift)) for level, shift in shifted)
        jitter = (float(noise.uniform(-1, 1)), float(noise.uniform(-1, 1)))
        draw = _draw_shape if item.thing in SHAPES else _draw_digit
        draw(pen, item, size // GRID, jitter, (red, green, blue))
    mark_split(image, key)
    return image


def _background(noise: np.random.Generator, size: int) -> np.ndarray:
    level = noise.integers(15, 70) if noise.random() < 0.5 else noise.integers(190, 240)
    tint = noise.normal(0, 6, 3)
    grain = noise.standard_normal((size, size, 3), dtype=np.float32) * 10
    return np.clip(level + tint + grain, 0, 255).astype(np.uint8)


def _draw_shape(
    pen: ImageDraw.ImageDraw,
    item: Item,
    cell: int,
    jitter: tuple[float, float],
    color: tuple[int, int, int],
) -> None:
    radius = (0.42 if item.big else 0.24) * cell
    room = max(0.0, cell / 2 - radius - 1)
    x = (item.column + 0.5) * cell + jitter[0] * room
    y = (item.row + 0.5) * cell + jitter[1] * room
    if item.thing == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    elif item.thing == "square":
        half = radius * 0.88
        pen.rectangle((x - half, y - half, x + half, y + half), fill=color)
    elif item.thing == "triangle":
        base = y + radius * 0.85
        pen.polygon([(x, y - radius), (x - radius, base), (x + radius, base)], fill=color)
    else:
        bar = radius * 0.34
        pen.rectangle((x - radius, y - bar, x + radius, y + bar), fill=color)
        pen.rectangle((x - bar, y - radius, x + bar, y + radius), fill=color)


def _draw_digit(
    pen: ImageDraw.ImageDraw,
    item: Item,
    cell: int,
    jitter: tuple[float, float],
    color: tuple[int, int, int],
) -> None:
    dot = max(1, cell // 8)
    left = round((item.column + 0.5) * cell - 2.5 * dot + jitter[0] * 0.15 * cell)
    top = round((item.row + 0.5) * cell - 3.5 * dot + jitter[1] * 0.06 * cell)
    pen.bitmap((left, top), _glyph(item.thing, dot), fill=color)


@cache
def _glyph(digit: str, dot: int) -> Image.Image:
    """Where a digit is drawn whose dots have so many pixels on a side: 255, elsewhere 0."""
    dots = np.array([[on == "1" for on in row] for row in _GLYPHS[digit]], np.uint8)
    return Image.fromarray(255 * dots.repeat(dot, axis=0).repeat(dot, axis=1))


def mark_split(image: Image.Image, key: int) -> None:
    """Write the split of a key into two bits of one pixel.

    They drown in the noise for a model, but make equal images of two splits impossible instead of
    merely improbable. Two bits tell four splits: the fifth, `certify`, shares those of `train`, to
    which no study looks, and half of it a third bit not.
    """
    corner = (image.width - 1, image.height - 1)
    red, green, blue = image.getpixel(corner)  # type: ignore[misc]
    number = key >> (_SEED_BITS + _INDEX_BITS)
    image.putpixel(corner, (red, green, int(blue) & ~3 | number))
