"""Scenes in the colours of easy-VQA: what is drawn is what questions and labels say."""

import random

import numpy as np
import pytest

from schedsearch.demo.scene import scene_key
from schedsearch.demo.smollm2.data import KINDS, SmolLM2Data, example
from schedsearch.demo.smollm2.scenes import COLORS, arrange, arrange_one, covered, render
from schedsearch.errors import DataError

SCENES = [arrange(random.Random(n)) for n in range(200)]
SINGLE = [arrange_one(random.Random(n)) for n in range(200)]


def test_shapes_lie_inside_the_image_and_do_not_overlap():
    for scene in SCENES + SINGLE:
        boxes = [item.box for item in scene.items]
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= 64 and 0 <= top < bottom <= 64
        for n, one in enumerate(boxes):
            for other in boxes[:n]:
                apart = one[2] <= other[0] or other[2] <= one[0]
                assert apart or one[3] <= other[1] or other[3] <= one[1]


def test_a_shape_fills_the_middle_of_its_box_with_its_color():
    for number, scene in enumerate(SCENES):
        pixels = np.asarray(render(scene, number))
        for item in scene.items:
            left, top, right, bottom = item.box
            middle = pixels[int((top + bottom) / 2), int((left + right) / 2)]
            assert tuple(middle) == COLORS[item.color]


def test_a_shape_lies_in_the_cell_that_names_it():
    for scene in SCENES:
        for item in scene.items:
            row = ("top", "bottom")[item.row // 2] if item.row != 1 else ""
            column = ("left", "right")[item.column // 2] if item.column != 1 else ""
            assert item.cell == (f"{row} {column}".strip() or "center")
            assert item.column * 64 / 3 <= item.box[0] and item.box[2] <= (item.column + 1) * 64 / 3
            assert item.row * 64 / 3 <= item.box[1] and item.box[3] <= (item.row + 1) * 64 / 3


def test_every_shape_is_seen_by_a_patch_and_no_patch_sees_another():
    for number, scene in enumerate(SCENES + SINGLE):
        pixels = np.asarray(render(scene, number)).reshape(8, 8, 8, 8, 3)
        shown = covered(scene).reshape(8, 8)
        assert set(range(len(scene.items))) <= set(shown.ravel().tolist()) or len(scene.items) == 1
        for row, column in zip(*np.nonzero(shown >= 0), strict=True):
            color = COLORS[scene.items[shown[row, column]].color]
            assert (pixels[row, :, column] == color).all(-1).any()


def test_splits_share_no_image():
    images = {
        split: {render(arrange(random.Random(0)), scene_key(split, n)).tobytes() for n in range(50)}
        for split in ("train", "validation", "calibration", "held-out")
    }
    assert sum(map(len, images.values())) == len(set.union(*images.values())) == 200


def test_kinds_come_in_turn_and_their_answers_hold():
    scenes = [example("calibration", n) for n in range(100)]
    assert [question.kind for _, question in scenes] == list(KINDS) * 10
    for scene, question in scenes:
        if question.kind == "count":
            word = question.text.split()[2]
            counted = sum(word in (item.color, item.thing) for item in scene.items)
            assert question.answer == str(counted)
        if question.kind == "where":
            assert question.answer in {item.cell for item in scene.items}


def test_a_longer_set_begins_with_a_shorter_one():
    short, long = SmolLM2Data("held-out", 20, "scenes"), SmolLM2Data("held-out", 40, "scenes")
    assert list(long)[:20] == list(short)
    assert short.digest() != long.digest()
    assert short.digest() == SmolLM2Data("held-out", 20, "scenes").digest()
    assert len({sample.id for sample in long}) == 40


def test_a_set_of_nothing_is_refused():
    with pytest.raises(DataError, match="`n` must be at least 1"):
        SmolLM2Data("held-out", 0, "scenes")
