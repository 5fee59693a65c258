"""One set divided for three uses: no image in two of them, whatever the order of its rows."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schedsearch import DataError, InputError
from schedsearch.app.splits import check_apart, groups, images_of, split_samples
from schedsearch.evaluation.data.in_memory import MemorySet

SHARES = {"search": 0.5, "certify": 0.3, "held_out": 0.2}


def samples(shown: Sequence[Sequence[int]]) -> MemorySet:
    """One sample for each list of numbers of images."""
    pictures = {n: Image.new("RGB", (2, 2), (n, n // 256, 7)) for one in shown for n in one}
    return MemorySet(
        {"id": f"q{row}", "question": "?", "answer": "yes", "images": [pictures[n] for n in one]}
        for row, one in enumerate(shown)
    )


several = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=2), min_size=1, max_size=40)


@settings(max_examples=40)
@given(several)
def test_groups_are_the_components_of_shared_images(shown):
    images = images_of(samples(shown))
    found = groups(images)
    assert sorted(name for group in found for name in group) == sorted(images)
    keys = [{key for name in group for key in images[name]} for group in found]
    assert sum(map(len, keys)) == len(set().union(*keys))  # no image in two groups
    for group, own in zip(found, keys, strict=True):
        reached = set(images[group[0]])
        for _ in group:
            near = [images[name] for name in group if reached & {*images[name]}]
            reached |= {key for one in near for key in one}
        assert reached == own


def test_parts_share_no_image_and_have_about_their_shares():
    whole = samples([[row // 2] for row in range(200)])
    parts = split_samples(whole, SHARES)
    assert {name: part.split for name, part in parts.items()} == {
        "search": "calibration",
        "certify": "certify",
        "held_out": "held-out",
    }
    assert [len(part) for part in parts.values()] == [100, 60, 40]
    assert [one.id for part in parts.values() for one in part] != [one.id for one in whole]
    seen = [{key for keys in images_of(part).values() for key in keys} for part in parts.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 100


def test_parts_follow_from_seed_and_content_and_not_from_the_order():
    rows = list(samples([[row % 60] for row in range(80)]))
    random.Random(1).shuffle(mixed := [*rows])
    first, again = (split_samples(MemorySet(one), SHARES) for one in (rows, mixed))
    other = split_samples(MemorySet(rows), SHARES, seed=1)
    for name, part in first.items():
        assert {one.id for one in part} == {one.id for one in again[name]}
        assert {one.id for one in part} != {one.id for one in other[name]}
        assert part.digest() != other[name].digest()


def test_a_part_keeps_the_order_of_the_set():
    part = split_samples(samples([[row] for row in range(30)]), SHARES)["search"]
    numbers = [int(one.id[1:]) for one in part]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"certify": 1.0}, "must have `search`"),
        ({"search": 0.5, "test": 0.5}, "must have `search`"),
        ({"search": 0.5, "certify": 0.4}, "add up to 1, but got search 0.5, certify 0.4"),
        ({"search": 1.5, "certify": -0.5}, "must be above 0"),
    ],
)
def test_shares_that_divide_nothing_are_refused(shares, message):
    with pytest.raises(InputError, match=message):
        split_samples(samples([[row] for row in range(10)]), shares)


def test_part_without_samples_is_refused():
    with pytest.raises(DataError, match=r"`shares\.certify` 0\.3 of 20 samples is fewer than 2"):
        split_samples(samples([[0]] * 20), SHARES)


def test_image_of_another_split_is_named():
    calibration = {"a": ("red",), "b": ("blue",)}
    with pytest.raises(DataError, match="certify sample 'x' shows the image of calibration .* 'b'"):
        check_apart({"calibration": calibration}, "certify", {"x": ("blue",), "y": ("green",)})
    with pytest.raises(DataError, match="held-out sample 'z' shows the image of certify sample"):
        earlier = {"calibration": calibration, "certify": {"x": ("grey",)}}
        check_apart(earlier, "held-out", {"y": ("green",), "z": ("grey",)})
