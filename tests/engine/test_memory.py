"""Sample sets from rows that a program holds: the rules of JSONL lines, and of tables."""

import io
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from schedsearch.core.canonical import digest
from schedsearch.core.sample import Sample
from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import open_image
from schedsearch.evaluation.data.in_memory import MemorySet
from schedsearch.evaluation.data.jsonl import sample_key

CUP = Image.new("RGB", (8, 6), (200, 10, 10))
GOOD: dict[str, Any] = {"question": "What is it?", "answer": "a cup", "image": CUP}


def only(row: dict[str, Any]) -> Sample:
    (sample,) = MemorySet([row])
    return sample


def without(*keys: str, **more: Any) -> dict[str, Any]:
    return {**{key: value for key, value in GOOD.items() if key not in keys}, **more}


def test_rows_become_samples_in_their_order(tmp_path: Path) -> None:
    CUP.save(tmp_path / "cup.png")
    files = [str(tmp_path / "cup.png"), tmp_path / "cup.png", CUP]
    second = without("image", "answer", id=7, answers=("x", "y"), images=files, kind="choice")

    found = MemorySet([GOOD, second], "cups", "held-out")
    first, other = found

    assert (first.id, first.question, first.answers) == ("0", "What is it?", ("a cup",))
    assert (other.id, other.answers, other.kind) == ("7", ("x", "y"), "choice")
    assert [open_image(image).size for image in other.images] == [(8, 6)] * 3
    assert found.digest() == digest([[sample.id, sample_key(sample)] for sample in found])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (3, "3"),
        (2.5, "2.5"),
        (np.int64(3), "3"),
        (np.float32(0.1), "0.1"),
        (np.float64(2.5), "2.5"),
        (Decimal("2.50"), "2.50"),
        (np.str_("a cup"), "a cup"),
    ],
)
def test_an_answer_that_is_a_number_is_its_text(answer: object, text: str) -> None:
    assert only(without(answer=answer)).answers == (text,)
    assert only(without("answer", answers=[answer, "x"])).answers == (text, "x")


def test_a_column_of_numbers_may_be_an_array() -> None:
    assert only(without("answer", answers=np.array([3, 4]))).answers == ("3", "4")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([GOOD], "a row must be a mapping or a Sample, but got list"),
        (without("question"), "`question` must be a text that is not empty, but got nothing"),
        (without(question="  "), "`question` must be a text that is not empty, but got '  '"),
        (without(id=True), "`id` must be a text that is not empty, or a whole number"),
        (without(kind=""), "`kind` must be a text"),
        (without(answer=""), "`answer` must be a text that is not empty, or a finite number"),
        (without(answer=True), "or a finite number, but got True"),
        (without(answer=float("nan")), "or a finite number, but got nan"),
        (without(answer=np.float32("inf")), "or a finite number, but got"),
        (without(answer=["a"]), "but got ['a']; write one, or use `answers` for a list"),
        (without(answers=["a"]), "either `answer` or `answers`, but got both"),
        (without("answer", answers=[]), "`answers` must be a list that is not empty"),
        (without("answer", answers="a cup"), "`answers` must be a list that is not empty"),
        (without("answer", answers=["a", None]), "`answers` must be a text"),
        (without("answer", anwser="a cup"), "`anwser` is not a key of a sample; did you mean"),
        (without("answer", Answer="a cup"), "did you mean `answer`?"),
        (without("image"), "`image` is missing; without an image there are no vision tokens"),
        (without("image", images=[]), "without an image there are no vision tokens"),
        (without(image=[CUP]), "but got list; open it with PIL, or use `images` for a list"),
        (without(image=""), "`image` must be a text that is not empty"),
        (without(image="absent.png"), "absent.png cannot be read: No such file"),
        (without(image=Path("absent.png")), "absent.png cannot be read: No such file"),
        (without(image="https://a.example/cup.png"), "addresses are not read"),
        (without(image=Path("https://a.example/cup.png")), "addresses are not read"),
        (without(image="data:image/png;base64,iVBORw0KGgo="), "or pass a PIL image from Python"),
        (without(image={"bytes": b""}), "must be a PIL image or a path, but got dict; open it"),
        (without(image=Image.new("F", (2, 2))), "must have values of a known range"),
        (Sample("s", "?", (), (Path("absent.png"),)), "absent.png cannot be read: No such file"),
    ],
)
def test_a_faulty_row_is_one_error_that_names_its_number(row: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        MemorySet([GOOD, row])

    assert str(caught.value).startswith("row 1: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_columns_and_empty_cells_are_passed_over() -> None:
    other = {
        "answer_type": "noun",
        "image_id": 3,
        "question_id": 4,
        "index": 5,
        "label": None,
        6: 7,
    }
    empty = {"answers": None, "images": None, "id": None, "kind": None}

    found = only({**GOOD, **other, **empty})

    assert (found.id, found.answers, found.kind) == ("0", ("a cup",), "")


def test_rows_without_answers_may_have_columns_about_them() -> None:
    assert only(without("answer", answer_type="noun", answer_id=3)).answers == ()


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(DataError, match="row 1: `id` '0' stands on an earlier row too"):
        MemorySet([GOOD, without(id=0)])


def test_several_faults_are_one_line_that_names_the_first_and_counts_the_others() -> None:
    with pytest.raises(DataError) as caught:
        MemorySet([GOOD] + [without("question")] * 9)

    said = str(caught.value)
    assert said.startswith("row 1: `question` must be a text that is not empty")
    assert said.endswith("; 8 more rows have faults") and "\n" not in said


def test_a_second_fault_is_one_more() -> None:
    with pytest.raises(DataError, match="row 0: .*; 1 more row has faults$"):
        MemorySet([without("question"), GOOD, without("question")])


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="cups has no rows"):
        MemorySet([], "cups")


def test_the_range_of_deep_images_travels_to_another_process() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((340, 0.0), (341, 1.0)):
        tags[tag] = value
        tags.tagtype[tag] = 11
    content = io.BytesIO()
    Image.new("F", (2, 2), 0.5).save(content, "TIFF", tiffinfo=tags)
    found = MemorySet([without(image=Image.open(content))])

    (copy,) = pickle.loads(pickle.dumps(found))  # noqa: S301

    assert open_image(copy.images[0]).getpixel((0, 0)) == (128, 128, 128)


def test_an_image_that_was_cut_off_is_found_when_the_set_is_made() -> None:
    content = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(content, "PNG")
    broken = Image.open(io.BytesIO(content.getvalue()[:20_000]))

    with pytest.raises(DataError, match="row 0: image in memory cannot be decoded"):
        MemorySet([without(image=broken)])
