"""Scenes of two to five shapes on a 3 x 3 grid, in the colours and shapes of easy-VQA."""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from schedsearch.demo.model import PATCH
from schedsearch.demo.scene import Item, Scene, mark_split
from schedsearch.demo.smollm2 import IMAGE_SIZE

GRID = 3
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "teal": (0, 128, 128),
    "brown": (165, 42, 42),
}
SHAPES = ("circle", "rectangle", "triangle")
PLACES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
SIZES = ("small", "big")

# A patch shows an item that covers at least this share of it.
_LEAST_COVER = 0.12

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing(Item):
    """A shape with the box that it fills, (left, top, right, bottom) in pixels."""

    box: Box

    @property
    def cell(self) -> str:
        """Name of the cell, in words."""
        return PLACES[self.row][self.column]


def arrange(rng: random.Random, fewest: int = 2, most: int = 5) -> Scene:
    """A random scene with between `fewest` and `most` shapes."""
    kinds = [(color, shape) for color in COLORS for shape in SHAPES]
    chosen = rng.sample(kinds, rng.randint(fewest, most))
    side = IMAGE_SIZE / GRID
    things = []
    for cell, (color, shape) in zip(
        rng.sample(range(GRID * GRID), len(chosen)), chosen, strict=True
    ):
        row, column = divmod(cell, GRID)
        big = rng.random() < 0.5
        low, high = (14, 19) if big else (7, 10)
        width, height = _fitted(shape, rng.uniform(low, high), rng.uniform(low, high))
        left = column * side + 1 + rng.random() * (side - 2 - width)
        top = row * side + 1 + rng.random() * (side - 2 - height)
        things.append(
            Thing(row, column, color, shape, big, (left, top, left + width, top + height))
        )
    return Scene(tuple(things), tuple(COLORS), SHAPES)


def arrange_one(rng: random.Random) -> Scene:
    """A single shape of any size anywhere, as easy-VQA draws them."""
    color, shape = rng.choice(tuple(COLORS)), rng.choice(SHAPES)
    width, height = _fitted(shape, rng.uniform(6, 32), rng.uniform(6, 32))
    left, top = rng.uniform(0, IMAGE_SIZE - width), rng.uniform(0, IMAGE_SIZE - height)
    row, column = (
        int((start + size / 2) * GRID / IMAGE_SIZE)
        for start, size in ((top, height), (left, width))
    )
    box = (left, top, left + width, top + height)
    return Scene(
        (Thing(row, column, color, shape, max(width, height) > 12, box),), tuple(COLORS), SHAPES
    )


def _fitted(shape: str, width: float, height: float) -> tuple[float, float]:
    if shape == "rectangle":
        return width, height
    side = (width + height) / 2
    return side, side * 0.87 if shape == "triangle" else side


def render(scene: Scene, key: int) -> Image.Image:
    """The scene as an RGB image of 64 x 64 pixels on a light ground, whose tint follows `key`."""
    rng = random.Random(key)
    ground = tuple(rng.randint(229, 255) for _ in range(3))
    image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), ground)
    pen = ImageDraw.Draw(image)
    for thing in scene.items:
        _draw(pen, thing, COLORS[thing.color])
    mark_split(image, key)
    return image


def covered(scene: Scene) -> NDArray[np.int64]:
    """Number of the item that each patch shows, (n_vision,); -1 where it shows none."""
    shares = []
    for thing in scene.items:
        mask = Image.new("1", (IMAGE_SIZE, IMAGE_SIZE))
        _draw(ImageDraw.Draw(mask), thing, 1)
        side = IMAGE_SIZE // PATCH
        blocks = np.asarray(mask).reshape(side, PATCH, side, PATCH)
        shares.append(blocks.mean((1, 3)).ravel())
    found = np.stack(shares)
    return np.where(found.max(0) >= _LEAST_COVER, found.argmax(0), -1)


def _draw(pen: ImageDraw.ImageDraw, thing: Item, fill: tuple[int, int, int] | int) -> None:
    assert isinstance(thing, Thing)
    left, top, right, bottom = thing.box
    if thing.thing == "circle":
        pen.ellipse(thing.box, fill=fill)
    elif thing.thing == "rectangle":
        pen.rectangle(thing.box, fill=fill)
    else:
        pen.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=fill)
