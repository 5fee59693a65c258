"""Images become RGB of 8 bits without losing content, or are refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import decode, open_image, upright

BITS, PHOTOMETRIC, ORIENTATION, LEAST, GREATEST = 258, 262, 274, 340, 341
DEEP = np.array([[0, 30_000], [65_535, 300]], dtype=np.uint16)
SHOWN = [[0, 117], [255, 1]]  # 255 v / 65,535, to the nearest


def levels(image: Image.Image) -> list[list[int]]:
    """The one channel of a picture without colour."""
    found = np.asarray(image)
    assert image.mode == "RGB"
    assert (found == found[..., :1]).all()
    shown: list[list[int]] = found[..., 0].tolist()
    return shown


def sixteen(mode: str = "I;16") -> Image.Image:
    order = ">u2" if mode == "I;16B" else "<u2"
    return Image.frombytes(mode, (2, 2), DEEP.astype(order).tobytes())


def saved(image: Image.Image, path: Path, tags: dict[int, Any] | None = None) -> Path:
    more: dict[str, Any] = {}
    if tags:
        more["tiffinfo"] = directory = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in tags.items():
            directory[tag] = value
            if isinstance(value, float):
                directory.tagtype[tag] = 11
    image.save(path, **more)
    return path


def png(samples: np.ndarray, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits a channel `(height, width, channels)`; Pillow writes only grey ones."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b""
    for name, content in parts:
        check = zlib.crc32(name + content)
        body += struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(
    samples: bytes, size: tuple[int, int], bits: int, tags: dict[int, int] | None = None
) -> bytes:
    """A little-endian grey TIFF with the tags that Pillow does not write."""
    entries = {256: size[0], 257: size[1], BITS: bits, 259: 1, PHOTOMETRIC: 1, 277: 1, 278: size[1]}
    entries |= tags or {}
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries |= {273: start, 279: len(samples)}
    found = b"".join(struct.pack("<HHII", tag, 4, 1, entries[tag]) for tag in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + found + b"\0" * 4 + samples


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I;16N"])
def test_16_bits_in_memory_end_at_65535(mode: str) -> None:
    assert levels(upright(sixteen(mode))) == SHOWN


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("I;16", "a.png"),
        ("I;16B", "b.png"),
        ("I;16", "a.tiff"),
        ("I;16B", "b.tiff"),
        ("I;16", "a.jp2"),
        ("I;16", "a.pgm"),
    ],
)
def test_16_bits_of_a_file_end_at_65535(mode: str, name: str, tmp_path: Path) -> None:
    assert levels(open_image(saved(sixteen(mode), tmp_path / name))) == SHOWN


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"P5 2 2 1023 " + struct.pack(">4H", 0, 468, 1023, 5), [[0, 117], [255, 1]]),
        (b"P5 2 2 255 " + bytes([0, 117, 255, 1]), [[0, 117], [255, 1]]),
        (b"P5 2 2 100 " + bytes([0, 46, 100, 0]), [[0, 117], [255, 0]]),
        (b"P2 2 2 4095 0 1874 4095 16", [[0, 117], [255, 1]]),
    ],
)
def test_a_pgm_ends_at_its_greatest_value(content: bytes, shown: list[list[int]]) -> None:
    assert levels(upright(decode(content, "a.pgm"))) == shown


def test_12_bits_of_a_tiff_end_at_4095() -> None:
    packed = bytes([0x00, 0x07, 0x52, 0xFF, 0xF0, 0x10])  # 0, 1874; 4095, 16

    assert levels(upright(decode(tiff(packed, (2, 2), 12), "a.tiff"))) == [[0, 117], [255, 1]]


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (1000, 62), (2048, 128), (4095, 255)])
def test_12_bits_of_a_jpeg_2000_end_at_4095(value: int, shown: int) -> None:
    content = io.BytesIO()
    # Stored as the distance from the middle of the range, which 12 bits have elsewhere.
    grey = Image.new("I;16", (8, 8), value - 2**11 + 2**15)
    grey.save(content, "JPEG2000", no_jp2=True)
    raw = bytearray(content.getvalue())
    depth = raw.index(b"\xff\x51") + 40  # Ssiz of the first component
    assert raw[depth] == 16 - 1
    raw[depth] = 12 - 1

    assert upright(decode(bytes(raw), "a.j2k")).getpixel((0, 0)) == (shown,) * 3


def test_white_is_zero_where_a_tiff_says_so() -> None:
    raw = DEEP.astype("<u2").tobytes()

    found = upright(decode(tiff(raw, (2, 2), 16, {PHOTOMETRIC: 0}), "a.tiff"))

    assert levels(found) == [[255, 138], [0, 254]]


def test_16_bits_a_colour_show_their_upper_bits() -> None:
    colours = np.array([[[30_000, 0, 65_535], [300, 65_280, 128]]])
    grey = np.array([[[30_000, 65_535], [65_535, 0]]])

    rgb = upright(decode(png(colours, 2), "rgb.png"))
    with_alpha = upright(decode(png(grey, 4), "la.png"))

    found = np.asarray(rgb).astype(int)
    assert np.abs(found - colours / 257).max() <= 1
    assert levels(with_alpha) == [[117, 255]]


def test_significant_bits_of_a_png_do_not_change_its_range() -> None:
    scaled = np.array([[[0], [0xFFFF]]])  # encoders spread 12 bits over 16

    found = upright(decode(png(scaled, 0, (b"sBIT", b"\x0c")), "a.png"))

    assert levels(found) == [[0, 255]]


@pytest.mark.parametrize("orientation", [1, 3])
def test_deep_images_are_turned_too(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    sixteen().save(tmp_path / "a.png", exif=exif)
    saved(sixteen(), tmp_path / "a.tiff", {ORIENTATION: orientation})
    shown = SHOWN if orientation == 1 else [row[::-1] for row in SHOWN[::-1]]

    assert levels(open_image(tmp_path / "a.png")) == shown
    assert levels(open_image(tmp_path / "a.tiff")) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0.0, 1.0, [[0, 128]]), (-0.5, 0.5, [[128, 255]]), (0.0, 2.0, [[0, 64]])],
)
def test_floats_are_scaled_by_the_range_that_a_tiff_states(
    low: float, high: float, shown: list[list[int]], tmp_path: Path
) -> None:
    image = Image.fromarray(np.array([[0, 0.5]], dtype=np.float32))

    path = saved(image, tmp_path / "a.tiff", {LEAST: low, GREATEST: high})

    assert levels(open_image(path)) == shown


def test_whole_numbers_are_scaled_by_the_range_that_a_tiff_states(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[-100, 0, 100]], dtype=np.int32))

    path = saved(image, tmp_path / "a.tiff", {LEAST: -100.0, GREATEST: 100.0})

    assert levels(open_image(path)) == [[0, 128, 255]]


@pytest.mark.parametrize("value", [200.0, -0.1, float("nan"), float("inf")])
def test_values_outside_the_range_that_a_file_states_are_refused(
    value: float, tmp_path: Path
) -> None:
    image = Image.fromarray(np.array([[0.5, value]], dtype=np.float32))
    path = saved(image, tmp_path / "a.tiff", {LEAST: 0.0, GREATEST: 1.0})

    with pytest.raises(DataError, match=r"a\.tiff must have values in 0\.\.1, .* but got"):
        open_image(path)


def test_a_range_that_is_none_is_not_taken(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0.5, 0.5]], dtype=np.float32))
    path = saved(image, tmp_path / "a.tiff", {LEAST: 0.5, GREATEST: 0.5})

    with pytest.raises(DataError, match="must have values of a known range"):
        open_image(path)


def _fits() -> bytes:
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2", "END"]
    head = "".join(card.ljust(80) for card in cards).ljust(2880)
    return head.encode() + DEEP.astype(">u2").tobytes().ljust(2880, b"\0")


def _of(dtype: Any, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.array([[0, 1]], dtype=dtype)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (_of(np.float32, "TIFF"), "32-bit floats"),
        (_of(np.float32, "PPM"), "32-bit floats"),
        (_of(np.int32, "TIFF"), "mode I "),
        (tiff(bytes(16), (2, 2), 32), "mode I "),
        (tiff(bytes(8), (2, 2), 16, {339: 2}), "mode I "),
        (_fits(), "mode I;16 "),
    ],
)
def test_values_without_a_known_range_are_refused_with_the_remedy(raw: bytes, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        upright(decode(raw, "odd"), "odd")

    assert "image odd must have values of a known range" in str(caught.value)
    assert kind in str(caught.value)
    assert "save 8 bits a channel" in str(caught.value)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_in_memory_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match="in memory must have values of a known range"):
        open_image(lambda: Image.new(mode, (2, 2)))


@pytest.mark.parametrize(
    ("mode", "stored", "shown"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 200, (200, 200, 200)),
        ("LA", (200, 0), (200, 200, 200)),
        ("La", (100, 100), (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (200, 100, 50, 0), (200, 100, 50)),
        ("RGBa", (50, 20, 10, 100), (127, 51, 25)),
        ("RGBX", (10, 20, 30, 40), (10, 20, 30)),
        ("CMYK", (10, 20, 30, 40), (207, 198, 190)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 200), (200, 0, 0)),
        ("LAB", (200, 128, 128), (194, 194, 194)),
    ],
)
def test_8_bits_show_their_colour_and_alpha_is_dropped(
    mode: str, stored: Any, shown: tuple[int, ...]
) -> None:
    image = Image.new(mode, (1, 1))
    image.putpixel((0, 0), stored)

    assert upright(image).getpixel((0, 0)) == shown


def test_every_mode_of_pillow_is_shown_or_refused() -> None:
    for mode in Image.MODES:
        image = Image.new(mode, (2, 2))
        if mode in ("I", "F"):
            with pytest.raises(DataError):
                upright(image)
        else:
            assert upright(image).mode == "RGB"


def test_transparent_entries_of_a_palette_show_their_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=1)
    image.save(tmp_path / "a.gif", transparency=1)

    for name in ("a.png", "a.gif"):
        found = open_image(tmp_path / name)
        assert [found.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (200, 100, 50)]


def test_a_broken_image_that_a_program_holds_is_a_data_error() -> None:
    content = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(content, "PNG")
    broken = Image.open(io.BytesIO(content.getvalue()[:20_000]))

    with pytest.raises(DataError, match="image in memory cannot be decoded: .*truncated"):
        upright(broken)
