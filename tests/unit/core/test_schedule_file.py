import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schedsearch.core.schedule import RankerSpec, Schedule, Target
from schedsearch.core.schedule_file import main, read_schedule_file, write_schedule_file
from schedsearch.core.schedule_format import Estimate, Provenance, Results, Score, json_schema
from schedsearch.errors import RunError, ScheduleError
from tests.unit.core.strategies import targeted_schedules

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "schedule"
PUBLISHED = ROOT / "docs" / "schema" / "schedsearch.schedule-1.json"
VALID = sorted((GOLDEN / "valid").glob("*.json"))
INVALID = sorted((GOLDEN / "invalid").glob("*.json"))

# What a JSON Schema cannot see: relations between fields, and text that is not plain JSON.
BEYOND_SCHEMA = {
    "broken-json",
    "duplicate-key",
    "edited-claim",
    "empty",
    "growing-keep",
    "infinite",
    "not-a-number",
    "other-depth",
}

RESULTS = Results(
    flops_ratio=0.5,
    kv_ratio=0.25,
    scores=[
        Score(
            metric="exact_match",
            split="held-out",
            n=2000,
            score=Estimate(value=0.94, low=0.93, high=0.95),
            drop=Estimate(value=0.01, low=0.0, high=0.02),
        )
    ],
)
PROVENANCE = Provenance(version="0.1.0", created="2026-01-31T12:00:00Z", study="demo", seed=3)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files") / "schedule.json"


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_golden_file_survives_reading_and_writing(path, tmp_path, validator):
    file = read_schedule_file(path)
    write_schedule_file(tmp_path / "again.json", file)

    again = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))
    assert read_schedule_file(tmp_path / "again.json") == file
    assert Schedule.load(path).digest() == Schedule.load(tmp_path / "again.json").digest()
    validator.validate(json.loads(path.read_text(encoding="utf-8")))
    validator.validate(again)


def test_full_golden_file_yields_all_it_says():
    file = read_schedule_file(GOLDEN / "valid" / "full.json")
    schedule = Schedule.from_file(file)

    ranker = RankerSpec.from_mapping("random", {"seed": 7, "share": 0.5, "rows": "prompt"})
    assert schedule == Schedule((1.0, 1.0, 0.640625, 0.5, 0.28, 0.0), ranker)
    assert schedule.target == Target(
        "LlavaForConditionalGeneration", 6, 256, "example/llava-tiny", "9f2c5a"
    )
    assert file.results is not None
    assert file.results.scores[0].drop == Estimate(value=0.004, low=-0.002, high=0.01)
    assert file.provenance is not None
    assert file.provenance.calibration is not None
    assert file.provenance.calibration.name == "shapesvqa"
    assert file.extensions["com.example"]["by"] == "Zoë"


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_golden_file_is_refused_with_its_message(path):
    with pytest.raises(ScheduleError) as caught:
        Schedule.load(path)
    message = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_published_schema_refuses_what_a_schema_can_see(path, validator):
    if path.stem in {"broken-json", "empty"}:
        with pytest.raises(json.JSONDecodeError):
            json.loads(path.read_text(encoding="utf-8"))
        return
    valid = validator.is_valid(json.loads(path.read_text(encoding="utf-8")))
    assert valid == (path.stem in BEYOND_SCHEMA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format": "\xff"}', "byte 12 is not UTF-8"),
        (b" \n", "is empty"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format": "schedsearch.schedule/0"}', "`format` must be"),
        (b'{"format": "schedsearch.schedule/12"}', "newer schedsearch; upgrade"),
        (b'{"format": 1}', '`format` must be "schedsearch.schedule/1", but got 1'),
        (b'{"x": ' + b"9" * 5000 + b"}", "finite, but got one of 5000 digits"),
    ],
)
def test_unreadable_content_is_one_clear_error(content, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ScheduleError, match=message) as caught:
        Schedule.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 400


def test_missing_file_and_folder_are_told_apart(tmp_path):
    with pytest.raises(ScheduleError, match=r"none\.json: there is no such file"):
        Schedule.load(tmp_path / "none.json")
    with pytest.raises(ScheduleError, match="is a folder; name the schedule file inside it"):
        Schedule.load(tmp_path)


def test_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "windows.json"
    path.write_bytes(b"\xef\xbb\xbf" + (GOLDEN / "valid" / "minimal.json").read_bytes())
    assert Schedule.load(path).keep == (1.0, 1.0, 0.5, 0.25)


@given(targeted_schedules(), st.dictionaries(st.text(max_size=6), json_values, max_size=3))
def test_saved_schedule_loads_as_itself(place, schedule, extensions):
    schedule.save(place, results=RESULTS, provenance=PROVENANCE, extensions=extensions)

    file = read_schedule_file(place)
    assert Schedule.from_file(file) == schedule
    assert Schedule.from_file(file).target == schedule.target
    assert Schedule.from_file(file).digest() == schedule.digest()
    assert (file.results, file.provenance) == (RESULTS, PROVENANCE)
    assert file.extensions == extensions
    assert Draft202012Validator(json_schema()).is_valid(json.loads(place.read_text("utf-8")))


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "schedule.json"
    Schedule.full(2).save(path)
    Schedule((1.0, 0.5)).save(path)
    assert Schedule.load(path).keep == (1.0, 0.5)
    assert list(tmp_path.iterdir()) == [path]


def test_reader_never_sees_a_part_of_the_new_file(tmp_path):
    path = tmp_path / "schedule.json"
    Schedule.full(2).save(path)
    old = path.read_text(encoding="utf-8")
    with path.open(encoding="utf-8") as reader:
        Schedule((1.0, 0.5)).save(path)
        assert reader.read() == old


def test_interrupted_saving_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "schedule.json"
    Schedule.full(2).save(path)

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RunError, match="cannot be written .No space left on device"):
        Schedule((1.0, 0.5)).save(path)
    assert Schedule.load(path) == Schedule.full(2)
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ScheduleError, match="cannot be written .No such file"):
        Schedule.full(2).save(tmp_path / "missing" / "schedule.json")
    with pytest.raises(ScheduleError, match="cannot be written .Not a directory"):
        Schedule.full(2).save(tmp_path / "file" / "schedule.json")
    with pytest.raises(ScheduleError, match="is a folder; name a file inside it"):
        Schedule.full(2).save(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, {1, 2}, "\ud800"], ids=repr)
def test_extension_that_json_cannot_express_is_refused(value, tmp_path):
    with pytest.raises(ScheduleError, match="extensions"):
        Schedule.full(2).save(tmp_path / "schedule.json", extensions={"x": value})
    assert list(tmp_path.iterdir()) == []


def test_published_schema_is_the_code():
    assert main(["--check", str(PUBLISHED)]) == 0


def test_check_fails_where_the_schema_differs_or_is_missing(tmp_path, capsys):
    changed = copy.deepcopy(json_schema())
    changed["properties"]["extra"] = {"type": "string"}
    (tmp_path / "schema.json").write_text(json.dumps(changed, indent=2) + "\n")
    assert main(["--check", str(tmp_path / "schema.json")]) == 1
    assert main(["--check", str(tmp_path / "none.json")]) == 1
    assert "differs from the code; write it anew" in capsys.readouterr().err


def test_module_prints_the_published_schema():
    command = [sys.executable, "-W", "error", "-m", "schedsearch.core.schedule_file"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout == PUBLISHED.read_text(encoding="utf-8")
    assert printed.stderr == ""
