"""Sample sets from JSONL files: what is read, and every fault by file and line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import open_image
from schedsearch.evaluation.data.jsonl import JsonlSet

GOOD = {"question": "What is it?", "answer": "a cup", "image": "cup.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 6), (200, 10, 10)).save(tmp_path / "cup.png")
    Image.new("RGB", (8, 6), (10, 10, 200)).save(tmp_path / "plate.jpg")
    return tmp_path


def write(folder: Path, *lines: Any, name: str = "data.jsonl") -> Path:
    """A JSONL file; texts stand as they are, other values as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path = folder / name
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def test_lines_become_samples_in_their_order(folder: Path) -> None:
    second = {"id": 7, "question": "Which?", "answers": ["x", "y"], "images": ["plate.jpg"] * 2}
    path = write(folder, GOOD, {**second, "kind": "choice"})

    found = JsonlSet(path)
    first, other = found

    assert (first.id, first.question, first.answers, first.kind) == (
        "1",
        "What is it?",
        ("a cup",),
        "",
    )
    assert (other.id, other.answers, other.kind) == ("7", ("x", "y"), "choice")
    assert [open_image(image).size for image in other.images] == [(8, 6), (8, 6)]
    assert (len(found), found.name, found.split) == (2, "data", "calibration")


def test_the_answer_may_be_left_out(folder: Path) -> None:
    (sample,) = JsonlSet(write(folder, {"question": "?", "image": "cup.png"}))

    assert sample.answers == ()


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ("3", ("3",)),
        ("-0.50", ("-0.50",)),
        ("1e3", ("1e3",)),
        ("12345678901234567890123", ("12345678901234567890123",)),
        ("9" * 5000, ("9" * 5000,)),
        ('[2.5, "2.5"]', ("2.5", "2.5")),
    ],
)
def test_an_answer_that_is_a_number_is_taken_as_it_stands(
    folder: Path, answer: str, texts: tuple[str, ...]
) -> None:
    key = "answers" if answer.startswith("[") else "answer"
    line = f'{{"question": "?", "{key}": {answer}, "image": "cup.png"}}'

    (sample,) = JsonlSet(write(folder, line))

    assert sample.answers == texts


def test_kinds_may_be_whole_numbers(folder: Path) -> None:
    (sample,) = JsonlSet(write(folder, {**GOOD, "id": -1, "kind": 2}))

    assert (sample.id, sample.kind) == ("-1", "2")


def test_a_file_whose_name_has_a_colon_is_no_address(folder: Path) -> None:
    Image.new("RGB", (8, 6)).save(folder / "scene:12.png")

    assert len(JsonlSet(write(folder, {**GOOD, "image": "scene:12.png"}))) == 1


def test_a_long_address_is_shown_in_part(folder: Path) -> None:
    path = write(folder, {**GOOD, "image": "data:image/png;base64," + "A" * 100_000})

    with pytest.raises(DataError, match="addresses are not read") as caught:
        JsonlSet(path)

    assert len(str(caught.value)) < 500


def test_images_come_from_the_folder_named_and_name_and_split_are_settable(folder: Path) -> None:
    elsewhere = folder / "lists"
    elsewhere.mkdir()
    path = write(elsewhere, GOOD)

    found = JsonlSet(path, images=folder, name="cups", split="held-out")

    assert (found.name, found.split) == ("cups", "held-out")
    assert next(iter(found)).images == ((folder / "cup.png").resolve(),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the line is empty"),
        ("{", "the line is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ([1], "must hold a JSON object, but got list"),
        ({**GOOD, "quesion": "?"}, "`quesion` is not a key of a sample; did you mean `question`?"),
        ({**GOOD, "zzz": 1}, "`zzz` is not a key of a sample; known keys: id, question"),
        (
            '{"question": "?", "question": "!", "answer": "a", "image": "cup.png"}',
            "`question` appears twice in one object; remove one of them",
        ),
        (
            r'{"question": "?", "answer": "a", "\u0061nswer": "b", "image": "cup.png"}',
            "`answer` appears twice",
        ),
        ('{"question": {"a": 1, "a": 2}, "image": "cup.png"}', "`a` appears twice"),
        ({"answer": "a", "image": "cup.png"}, "`question` must be a text that is not empty, but"),
        ({**GOOD, "question": "  "}, "`question` must be a text that is not empty, but got '  '"),
        ({**GOOD, "question": 3}, "`question` must be a text that is not empty, but got 3"),
        ({**GOOD, "id": True}, "`id` must be a text"),
        ({**GOOD, "id": 1.5}, "`id` must be a text that is not empty, or a whole number, but got"),
        ({**GOOD, "answer": True}, "`answer` must be a text that is not empty, or a finite number"),
        ({**GOOD, "answer": None}, "`answer` must be a text"),
        ({**GOOD, "answer": float("nan")}, "or a finite number, but got nan"),
        ({**GOOD, "answer": float("-inf")}, "or a finite number, but got -inf"),
        ({**GOOD, "image": 3}, "`image` must be a text that is not empty, but got 3"),
        ({**GOOD, "image": "http://a.example/cup.png"}, "download it once and name the file"),
        ({**GOOD, "image": "HTTPS://a.example/cup.png"}, "addresses are not read, so that a"),
        ({**GOOD, "image": "s3://bucket/cup.png"}, "addresses are not read"),
        ({**GOOD, "image": "file:///cup.png"}, "name the file by its path alone"),
        ({**GOOD, "images": ["cup.png", "hf://a/b.png"]}, "either `image` or `images`"),
        ({"question": "?", "images": ["cup.png", "hf://a/b.png"]}, "'hf://a/b.png' is an address"),
        ({**GOOD, "image": "data:image/png;base64,iVBORw0KGgo="}, "decode it into a file (base64."),
        ({**GOOD, "kind": ""}, "`kind` must be a text"),
        ({**GOOD, "answers": ["a"]}, "either `answer` or `answers`, but got both"),
        ({**GOOD, "answer": ["a"]}, "`answer` must be a text"),
        ({"question": "?", "answers": [], "image": "cup.png"}, "`answers` must be a list that is"),
        ({"question": "?", "answers": ["a", None], "image": "cup.png"}, "`answers` must be a text"),
        ({"question": "?", "answer": "a"}, "without an image there are no vision tokens"),
        ({"question": "?", "answer": "a", "images": []}, "without an image there are no vision"),
        ({**GOOD, "image": "absent.png"}, "absent.png cannot be read: No such file"),
        ({**GOOD, "image": "."}, "cannot be read: Is a directory"),
        ({**GOOD, "image": "cup.png\0"}, "is no file name"),
        ({**GOOD, "image": "data.jsonl"}, "is in no format that Pillow knows"),
        ({**GOOD, "image": "../cup.png"}, "lies outside the image folder"),
        ({**GOOD, "image": "/etc/hostname"}, "lies outside the image folder"),
    ],
)
def test_a_faulty_line_is_one_error_that_names_file_and_line(
    folder: Path, line: Any, message: str
) -> None:
    path = write(folder, GOOD, line)

    with pytest.raises(DataError) as caught:
        JsonlSet(path)

    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cup.png", "plate.jpg"])
def test_a_truncated_image_is_found_when_the_set_is_made(folder: Path, name: str) -> None:
    size = (200, 200)
    noise = Image.effect_noise(size, 90).convert("RGB")
    noise.save(folder / name)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) * 3 // 4])

    with pytest.raises(DataError, match=rf":1: image {name} cannot be decoded: .*truncated"):
        JsonlSet(write(folder, {**GOOD, "image": name}))


def test_deep_images_are_read_by_their_range_or_refused_when_the_set_is_made(folder: Path) -> None:
    Image.new("I;16", (8, 6), 30_000).save(folder / "grey16.png")
    Image.new("F", (8, 6), 0.5).save(folder / "float.tiff")
    grey = write(folder, {**GOOD, "image": "grey16.png"})

    ((source,),) = (sample.images for sample in JsonlSet(grey))
    with pytest.raises(DataError, match=r":1: image float.tiff must have values of a known range"):
        JsonlSet(write(folder, {**GOOD, "image": "float.tiff"}))

    assert open_image(source).getpixel((0, 0)) == (117, 117, 117)


def test_a_link_out_of_the_image_folder_is_refused(folder: Path) -> None:
    inside = folder / "images"
    inside.mkdir()
    (inside / "cup.png").symlink_to(folder / "cup.png")

    with pytest.raises(DataError, match="lies outside the image folder"):
        JsonlSet(write(folder, GOOD), images=inside)


def test_repeated_ids_are_refused_even_between_a_number_and_a_line(folder: Path) -> None:
    with pytest.raises(DataError, match=r":2: `id` '1' stands on an earlier line too"):
        JsonlSet(write(folder, GOOD, {**GOOD, "id": 1}))


def test_several_faults_are_one_line_that_names_the_first_and_counts_the_others(
    folder: Path,
) -> None:
    path = write(folder, GOOD, *["{"] * 9)

    with pytest.raises(DataError) as caught:
        JsonlSet(path)

    said = str(caught.value)
    assert said.startswith(f"{path}:2: the line is not JSON")
    assert said.endswith("; 8 more lines have faults") and "\n" not in said


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)

    with pytest.raises(DataError, match="is empty"):
        JsonlSet(tmp_path / "data.jsonl")


def test_a_file_that_is_not_utf8_is_an_error_that_names_the_line(folder: Path) -> None:
    path = write(folder, GOOD)
    path.write_bytes(path.read_bytes() + '{"question": "für"}'.encode("latin-1"))

    with pytest.raises(DataError, match=r":2: the file must be UTF-8, but got byte 0xfc"):
        JsonlSet(path)


def test_missing_files_and_folders_are_errors(folder: Path) -> None:
    with pytest.raises(DataError, match=r"absent.jsonl cannot be read: No such file"):
        JsonlSet(folder / "absent.jsonl")
    with pytest.raises(DataError, match=r"the image folder .*absent does not exist"):
        JsonlSet(write(folder, GOOD), images=folder / "absent")


def test_byte_order_marks_line_ends_of_windows_and_unicode_separators_are_no_faults(
    folder: Path,
) -> None:
    text = json.dumps({**GOOD, "question": "one\u2028two"}, ensure_ascii=False)
    (folder / "data.jsonl").write_bytes(f"\ufeff{text}\r\n{json.dumps(GOOD)}".encode())

    assert [sample.question for sample in JsonlSet(folder / "data.jsonl")] == [
        "one\u2028two",
        "What is it?",
    ]


def _other_question(folder: Path) -> None:
    write(folder, {**GOOD, "question": "What else?"}, {**GOOD, "image": "plate.jpg"})


def _other_order(folder: Path) -> None:
    write(folder, {**GOOD, "image": "plate.jpg", "id": 2}, {**GOOD, "id": 1})


def _other_pixels(folder: Path) -> None:
    Image.new("RGB", (8, 6), (201, 10, 10)).save(folder / "cup.png")


def _other_spelling(folder: Path) -> None:
    lines = json.dumps(GOOD, indent=None, separators=(" ,", " :"), sort_keys=True)
    write(folder, lines, {"images": ["plate.jpg"], **{k: GOOD[k] for k in ("question", "answer")}})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (_other_question, False),
        (_other_order, False),
        (_other_pixels, False),
        (_other_spelling, True),
    ],
)
def test_digest_is_of_content_not_of_spelling(
    folder: Path, change: Callable[[Path], None], same: bool
) -> None:
    path = write(folder, GOOD, {**GOOD, "image": "plate.jpg"})
    before = JsonlSet(path).digest()

    change(folder)

    assert (JsonlSet(path).digest() == before) is same


def test_images_are_rgb_and_upright(folder: Path) -> None:
    turned = Image.new("L", (8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    turned.save(folder / "turned.jpg", exif=exif)

    opened = open_image(folder / "turned.jpg")

    assert (opened.mode, opened.size) == ("RGB", (6, 8))


def test_an_image_source_may_draw_but_must_return_an_image() -> None:
    drawn = open_image(lambda: Image.new("RGBA", (4, 4), (1, 2, 3, 255)))

    assert (drawn.mode, drawn.getpixel((0, 0))) == ("RGB", (1, 2, 3))
    with pytest.raises(DataError, match="must return a PIL image, but got str"):
        open_image(lambda: "cup.png")
