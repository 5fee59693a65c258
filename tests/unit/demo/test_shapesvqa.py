"""ShapesVQA as a sample set."""

import hashlib
import pickle
from collections import Counter

import pytest

from schedsearch.demo.questions import kinds
from schedsearch.demo.scene import SPLITS
from schedsearch.demo.shapesvqa import GENERATOR, ShapesVQA, study_sheet
from schedsearch.errors import InputError


def image_hash(sample):
    return hashlib.sha256(sample.images[0]().tobytes()).hexdigest()


def test_equal_parameters_give_equal_samples_and_images():
    first, again = list(ShapesVQA("calibration", 24)), list(ShapesVQA("calibration", 24))

    assert first == again
    assert [image_hash(s) for s in first] == [image_hash(s) for s in again]


def test_images_of_all_splits_are_disjoint():
    hashes = {split: {image_hash(sample) for sample in ShapesVQA(split, 600)} for split in SPLITS}

    assert {split: len(found) for split, found in hashes.items()} == dict.fromkeys(SPLITS, 600)
    assert len(set.union(*hashes.values())) == 600 * len(SPLITS)


def test_a_longer_set_begins_with_the_shorter_one():
    assert list(ShapesVQA("held-out", 50))[:20] == list(ShapesVQA("held-out", 20))


def test_kinds_come_in_turn():
    found = Counter(sample.kind for sample in ShapesVQA("held-out", 120))

    assert found == dict.fromkeys(kinds(), 10)


def test_ids_are_unique_and_carry_the_split():
    ids = [sample.id for sample in ShapesVQA("held-out", 124)]

    assert ids[123] == "held-out/000123"
    assert len(set(ids)) == 124


def test_ids_of_two_seeds_differ():
    ids = {sample.id for seed in (0, 1) for sample in ShapesVQA("calibration", 10, seed=seed)}

    assert len(ids) == 20


def test_digest_tells_sets_apart():
    sets = [
        ShapesVQA("held-out", 24),
        ShapesVQA("calibration", 24),
        ShapesVQA("held-out", 25),
        ShapesVQA("held-out", 24, seed=1),
        ShapesVQA("held-out", 24, size=96),
        ShapesVQA("held-out", 24, hops=4),
    ]

    assert len({one.digest() for one in sets}) == len(sets)
    assert ShapesVQA("held-out", 24).digest() == sets[0].digest()


def test_the_generator_still_makes_the_samples_that_results_refer_to():
    """Published accuracies and stored scores name these samples; other rules need another name."""
    assert GENERATOR == "shapesvqa/1"
    assert ShapesVQA("held-out", 100).digest() == (
        "bec0401a2d71cd7f20188c6a6a95d86d6e271bfa6ca792b97dcc31ef4dbfed5b"
    )


def test_samples_survive_pickling_and_draw_the_same_image():
    sample = next(iter(ShapesVQA("held-out", 1, seed=3)))

    copy = pickle.loads(pickle.dumps(sample))  # noqa: S301 - our own bytes

    assert copy == sample
    assert image_hash(copy) == image_hash(sample)


def test_size_and_hops_reach_the_samples():
    samples = list(ShapesVQA("held-out", 28, size=96, hops=4))

    assert samples[0].images[0]().size == (96, 96)
    assert "rel3_thing" in {sample.kind for sample in samples}


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": 5, "seed": -1}, {"n": 5, "hops": 9}])
def test_unusable_parameters_are_refused(bad):
    with pytest.raises(InputError):
        ShapesVQA("held-out", **bad)


def test_a_study_sheet_follows_its_weights():
    weights = [float(kind in ("exist", "count")) for kind in kinds()]

    _, questions = study_sheet("train", 0, 0, 30, weights)

    assert {question.kind for question in questions} == {"exist", "count"}
    assert study_sheet("train", 0, 0, 30, weights)[1] == questions
