"""The reference of study files says what the code does."""

import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import yaml
from PIL import Image

import schedsearch
from schedsearch.app.config import (
    CertifyConfig,
    DataConfig,
    SharesConfig,
    StudyConfig,
    read_study_file,
)
from schedsearch.app.docstrings import attributes, entries, summary
from schedsearch.app.running import RunConfig
from schedsearch.app.search_config import parse_search
from schedsearch.app.study_file_page import made, main
from schedsearch.evaluation.data.jsonl import JsonlSet
from schedsearch.evaluation.data.rows import KEYS
from schedsearch.evaluation.metrics import METRICS, FunctionMetric
from schedsearch.evaluation.metrics.function import Scorer
from schedsearch.reduction.rankers import RANKERS
from schedsearch.samplers import SAMPLERS

PAGE = Path(__file__).parents[3] / "docs" / "study-file.md"
TEXT = PAGE.read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def rows(heading: str) -> dict[str, list[str]]:
    """Cells of the first table below a heading, by the key in its first cell."""
    below = TEXT.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(^\|.*\n)+", below, re.MULTILINE)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first.strip("`"): rest for first, *rest in cells}


def test_page_is_the_code_s():
    assert made(TEXT) == TEXT
    assert main(["--check", str(PAGE)]) == 0


def test_page_that_differs_is_reported_and_made_anew(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(TEXT.replace("Name of the study", "Something else"))
    assert main(["--check", str(page)]) == 1
    assert "differs from the code" in capsys.readouterr().err
    assert main([str(page)]) == 0
    assert page.read_text() == TEXT


@pytest.mark.parametrize(
    "model", [StudyConfig, DataConfig, SharesConfig, CertifyConfig, RunConfig, *SAMPLERS.values()]
)
def test_every_key_is_described_and_nothing_else(model):
    assert set(attributes(model)) == set(model.model_fields)


@pytest.mark.parametrize(
    ("heading", "least"),
    [
        ("## Keys", {"study": "s", "model": "m", "data": {"calibration": "c"}}),
        ("### `run`", {}),
        ("### `sampler: g-search`", {"tolerance": 0}),
        ("### All other samplers", {"sampler": "frontier", "max_drop": 0}),
    ],
)
def test_keys_without_a_default_are_those_that_must_be_there(heading, least):
    if heading == "## Keys":
        config = StudyConfig.model_validate(least | {"search": {"tolerance": 0}})
        least = {**least, "search": {}}
    elif heading == "### `run`":
        config = RunConfig()
    else:
        config = parse_search(least)
    for key, (_, default, _) in rows(heading).items():
        assert bool(default) == (key not in least), key
        value = getattr(config, key)
        if default == "none":
            assert value in (None, [], {})
        elif default:
            assert str(value) == default.strip("`")


def test_names_are_those_that_exist():
    assert set(rows("## `metric`")) == set(METRICS)
    assert set(rows("## `ranker`")) == set(RANKERS)
    assert set(rows("## A sample")) == set(KEYS)
    arguments = list(inspect.signature(FunctionMetric).parameters)
    assert list(rows("## A scorer of your own")) == arguments


def test_least_study_file_of_the_page_is_one(tmp_path):
    path = tmp_path / "study.yaml"
    (example,) = code("yaml")
    path.write_text(example)
    assert read_study_file(path).data.held_out == yaml.safe_load(example)["data"]["held_out"]


def test_sample_line_of_the_page_is_one(tmp_path):
    (line,) = code("json")
    Image.new("RGB", (8, 8)).save(tmp_path / json.loads(line)["image"])
    (tmp_path / "samples.jsonl").write_text(line)
    (sample,) = JsonlSet(tmp_path / "samples.jsonl")
    assert sample.id == "q1"


def test_programs_of_the_page_use_what_is_public():
    programs = code("python")
    used = {name for one in programs for name in re.findall(r"schedsearch\.(\w+)", one)}
    assert used >= {"FunctionMetric", "StopStudy", "search"}
    assert used <= set(schedsearch.__all__)
    for program in programs:
        compile(program, "page", "exec")


def test_signature_of_a_scorer_is_that_of_the_page():
    assert get_args(Scorer) == ([str, Sequence[str]], float)
    assert "(answer: str, references: Sequence[str]) -> float" in TEXT


def test_docstrings_are_read_over_several_lines_and_bases():
    class Base:
        """One.

        More.

        Attributes:
            first: The first
                of them.
            second: The second: with a colon.

        Raises:
            third: No attribute.
        """

    class Derived(Base):
        """Two.

        Attributes:
            second: Another.
        """

    assert entries(Base, "Attributes") == {
        "first": "The first of them.",
        "second": "The second: with a colon.",
    }
    assert attributes(Derived)["second"] == "Another."
    assert attributes(Derived)["first"] == "The first of them."
    assert summary(Base) == "One."
