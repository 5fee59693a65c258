"""Sets that go to another process are there what they were here, and need no file."""

import io
import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schedsearch.core.sample import FirstSamples, Part, SampleSet
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import image_key, open_image
from schedsearch.evaluation.data.in_memory import MemorySet
from schedsearch.evaluation.data.jsonl import JsonlSet, sample_key

RNG = np.random.default_rng(0)
COLOURS = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8))
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def in_mode(mode: str) -> Image.Image:
    """An image that differs from pixel to pixel in all channels, alpha included."""
    if mode == "P":
        return COLOURS.quantize(16)
    if mode == "PA":
        return in_mode("P").convert("PA")
    channels = len(Image.new(mode, (1, 1)).getbands())
    if mode == "1":
        return COLOURS.convert("1")
    values = RNG.integers(0, 256, (9, 7, channels), dtype=np.uint8)
    return Image.frombytes(mode, (7, 9), values.tobytes())


def turned(mode: str = "RGB") -> tuple[Image.Image, Image.Exif]:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    return COLOURS.convert(mode), exif


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images whose pixels depend on more than the pixels that the file stores."""
    place = tmp_path / "images"
    place.mkdir()
    deep = Image.frombytes("I;16", (7, 9), RNG.integers(0, 65536, 63, dtype="<u2").tobytes())
    deep.save(place / "deep.png")
    deep.save(place / "deep.tiff")
    image, exif = turned()
    image.save(place / "turned.jpg", exif=exif)
    image.save(place / "turned.png", exif=exif)
    image.convert("CMYK").save(place / "print.jpg")
    in_mode("P").save(place / "palette.png", transparency=3)
    in_mode("P").save(place / "palette.gif")
    in_mode("RGBA").save(place / "alpha.webp", lossless=True)
    return place


def jsonl(folder: Path) -> JsonlSet:
    """A sample of every image, and one of two of them."""
    names = sorted(path.name for path in folder.iterdir())
    rows = [{"question": f"{name}?", "answer": "yes", "image": name} for name in names]
    both = {"id": "both", "question": "Which?", "answers": ["a", "b"], "images": names[:2]}
    path = folder.parent / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [*rows, {**both, "kind": "choice"}]))
    return JsonlSet(path, folder, split="certify")


def known(samples: SampleSet) -> dict[str, Any]:
    """All that evaluation and reports know of a set."""
    own = list(samples)
    return {
        "set": (samples.name, samples.split, samples.digest(), len(samples)),
        "texts": [(one.id, one.question, one.answers, one.kind) for one in own],
        "keys": [sample_key(one) for one in own],
        "images": [[image_key(open_image(source)) for source in one.images] for one in own],
    }


def sent(samples: SampleSet) -> SampleSet:
    copy: SampleSet = pickle.loads(pickle.dumps(samples))  # noqa: S301
    return copy


def test_a_file_s_set_arrives_as_it_was_where_its_files_are_not(folder: Path) -> None:
    here = jsonl(folder)
    expected, raw = known(here), pickle.dumps(here)
    shutil.rmtree(folder)

    arrived = pickle.loads(raw)  # noqa: S301

    assert known(arrived) == expected
    assert known(sent(arrived)) == expected


def test_images_of_every_mode_in_memory_arrive_as_they_were() -> None:
    rows = [{"id": mode, "question": "?", "image": in_mode(mode)} for mode in MODES]
    here = MemorySet(rows, "modes", "held-out")

    assert known(sent(here)) == known(here)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_that_is_open_already_arrives_upright(kind: str) -> None:
    content = io.BytesIO()
    image, exif = turned()
    image.save(content, kind, exif=exif)
    here = MemorySet([{"question": "?", "image": Image.open(content)}])

    (sample,) = sent(here)

    assert open_image(sample.images[0]).size == (9, 7)
    assert known(sent(here)) == known(here)


def test_rows_with_files_arrive_where_these_are_not(folder: Path) -> None:
    files: Iterator[Path] = folder.iterdir()
    here = MemorySet([{"question": "?", "image": path} for path in files])
    expected, raw = known(here), pickle.dumps(here)
    shutil.rmtree(folder)

    assert known(pickle.loads(raw)) == expected  # noqa: S301


def test_parts_arrive_as_they_were(folder: Path) -> None:
    whole = jsonl(folder)
    for here in (
        FirstSamples(whole, 3),
        Part(whole, frozenset(("2", "both")), "held-out"),
        Part(FirstSamples(whole, 4), frozenset(("1", "3")), "calibration"),
        FirstSamples(ShapesVQA("calibration", 30), 3),
    ):
        assert known(sent(here)) == known(here)


def noise(folder: Path, *names: str) -> int:
    """Write one and the same incompressible image under some names; its size in bytes."""
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / names[0])
    for name in names[1:]:
        shutil.copy(folder / names[0], folder / name)
    return (folder / names[0]).stat().st_size


def test_an_image_that_samples_share_is_sent_once(tmp_path: Path) -> None:
    size = noise(tmp_path, "a.png", "b.png")
    rows = [{"question": f"{n}?", "image": tmp_path / f"{'ab'[n % 2]}.png"} for n in range(8)]
    with Image.open(tmp_path / "a.png") as image:
        held = [{"question": f"{n}?", "image": image} for n in range(8)]
        assert size < len(pickle.dumps(MemorySet(rows))) < 1.5 * size
        assert size < len(pickle.dumps(MemorySet(held))) < 1.5 * size


def test_a_part_leaves_the_images_of_others_behind(tmp_path: Path) -> None:
    size = noise(tmp_path, "a.png") + noise(tmp_path, "b.png")
    whole = MemorySet([{"question": "?", "image": tmp_path / f"{one}.png"} for one in "ab"])

    assert len(pickle.dumps(whole)) > size
    assert len(pickle.dumps(FirstSamples(whole, 1))) < 0.75 * size
    assert len(pickle.dumps(Part(whole, frozenset("1"), "certify"))) < 0.75 * size


def test_a_set_that_is_generated_is_sent_as_its_rule() -> None:
    assert len(pickle.dumps(ShapesVQA("calibration", 1000))) < 1000


def test_files_are_sent_as_they_are(folder: Path) -> None:
    raw = {path.name: path.read_bytes() for path in folder.iterdir()}

    for sample in sent(jsonl(folder)):
        for image in sample.images:
            assert image.raw == raw[Path(image.name).name]


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    here = jsonl(folder)
    (folder / "deep.png").unlink()

    with pytest.raises(DataError, match=r"image .*deep\.png cannot be read"):
        pickle.dumps(here)
