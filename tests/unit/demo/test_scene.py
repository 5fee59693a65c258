"""Scenes and pixels follow from keys alone."""

import random

import numpy as np
import pytest

from schedsearch.demo.scene import SPLITS, Item, Scene, arrange, render, scene_key
from schedsearch.errors import InputError


def test_keys_of_different_splits_seeds_and_indices_never_meet():
    numbers = (0, 1, 2**31, 2**32 - 1)
    keys = [scene_key(s, index, seed) for s in SPLITS for index in numbers for seed in numbers]

    assert len(set(keys)) == len(SPLITS) * len(numbers) ** 2


@pytest.mark.parametrize(
    ("split", "index", "seed", "named"),
    [("test", 0, 0, "split"), ("train", -1, 0, "index"), ("train", 0, 2**32, "seed")],
)
def test_numbers_outside_the_key_are_refused_by_name(split, index, seed, named):
    with pytest.raises(InputError, match=f"`{named}` must be"):
        scene_key(split, index, seed)


def test_items_share_neither_cell_nor_label():
    for seed in range(200):
        scene = arrange(random.Random(seed))

        assert 6 <= len(scene.items) <= 10
        assert len({item.cell for item in scene.items}) == len(scene.items)
        assert len({item.label for item in scene.items}) == len(scene.items)


def test_equal_keys_give_equal_pixels_and_other_keys_do_not():
    scene = arrange(random.Random(0))

    first, again, other = (np.asarray(render(scene, key)) for key in (5, 5, 6))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("split", SPLITS)
def test_one_pixel_carries_the_split(split):
    for index in range(20):
        key = scene_key(split, index)
        image = render(arrange(random.Random(key)), key)

        assert image.getpixel((63, 63))[2] & 3 == SPLITS.index(split) & 3


@pytest.mark.parametrize("size", [48, 64, 96])
def test_an_item_is_drawn_in_its_own_cell_in_its_color(size):
    scene = Scene((Item(row=1, column=2, color="red", thing="square", big=True),))
    cell = size // 4

    pixels = np.asarray(render(scene, 3, size)).astype(int)

    reddish = (pixels[..., 0] > 190) & (pixels[..., 1] < 75) & (pixels[..., 2] < 75)
    rows, columns = np.nonzero(reddish)
    assert pixels.shape == (size, size, 3)
    assert reddish.sum() > cell * cell / 3
    assert set(rows // cell) == {1}
    assert set(columns // cell) == {2}


@pytest.mark.parametrize("size", [0, 44, 66])
def test_sizes_that_cannot_hold_the_grid_are_refused(size):
    with pytest.raises(InputError, match="multiple of 4 and at least 48"):
        render(arrange(random.Random(0)), 0, size)
