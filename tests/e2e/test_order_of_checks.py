"""What is wrong with a command's input is said before torch is imported."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from schedsearch.store import open_store
from tests.interpreter import Interpreter
from tests.unit.store.strategies import SPEC

PROGRAM = """
import sys
sys.argv = ["schedsearch", *sys.argv[1:]]
from schedsearch.cli import main
try:
    main()
finally:
    print(*(name for name in ("torch", "transformers") if name in sys.modules))
"""

STUDY = """
study: small
model: demo
data: {calibration: calibration.jsonl, held_out: held-out.jsonl}
search: {tolerance: 0.5}
"""
FAULTS = {
    "broken YAML": ("study: small", "study: [small", "not valid YAML"),
    "unknown key": ("model: demo", "modle: demo", "is not a key of a study file"),
    "missing file": ("calibration.jsonl", "gone.jsonl", "gone.jsonl cannot be read"),
    "missing model": ("model: demo", "model: ./gone", "./gone is a path, but the folder"),
    "where it runs": ("model: demo", "model: demo\nrun: {workers: 4}", "must have `executor: ray`"),
    "unknown split": ("calibration.jsonl", "demo:test", "is not a split"),
    "overlap": ("held-out.jsonl", "calibration.jsonl", "shows the image of calibration sample"),
    "latency file": (
        "{tolerance: 0.5}",
        "{sampler: random, budget: {milliseconds: 9}, latency: gone.json}",
        "gone.json: cannot be read",
    ),
    "warm start": (
        "{tolerance: 0.5}",
        "{sampler: random, budget: {flops: 0.6}, warm_start: [gone.json]}",
        "gone.json: there is no such file",
    ),
}
IMPORTS = (
    "schedsearch.cli.studies",
    "schedsearch.app.configured",
    "schedsearch.app.plots",
    "schedsearch.app.report",
    "matplotlib.figure",
    "schedsearch.demo.shapesvqa",
)
"""Most of what the commands import until they refuse."""

EXTRA = {"search": [], "report": [], "compare": ["--budget", "flops:0.6"]}


@pytest.fixture
def place(tmp_path):
    """A folder with a study file and its data."""
    for name, red in (("calibration", 0), ("held-out", 100)):
        lines = []
        for number in range(12):
            Image.new("RGB", (8, 8), (red, number, 0)).save(tmp_path / f"{name}-{number}.png")
            row = {"question": "what ?", "answer": "red", "image": f"{name}-{number}.png"}
            lines.append(json.dumps(row))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "faulty.yaml").write_text(STUDY.replace("held-out.jsonl", "gone.jsonl"))
    return tmp_path


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter(*IMPORTS) as one:
        yield one


Refused = Callable[..., str]


@pytest.fixture
def refused(interpreter: Interpreter, place: Path) -> Refused:
    """Error of a command, which has imported neither torch nor transformers and made nothing."""

    def call(*args: str) -> str:
        before = set(place.iterdir())
        ran = interpreter.run(PROGRAM, *args, folder=place)
        assert ran.returncode == 2, ran.stderr
        assert "Traceback" not in ran.stderr
        assert ran.stdout == "\n", ran.stdout
        assert set(place.iterdir()) == before
        return " ".join(ran.stderr.split())

    return call


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", EXTRA)
def test_fault_of_a_study_file(place, refused, command, fault):
    before, after, message = FAULTS[fault]
    (place / "study.yaml").write_text(STUDY.replace(before, after))
    if command == "report":  # of a study that there is
        with open_store(place / "schedsearch.db") as store:
            store.create_study(replace(SPEC, name="small"))
    assert message in refused(command, "study.yaml", *EXTRA[command])


@pytest.mark.parametrize("command", [*EXTRA, "certify"])
def test_option_of_a_cluster_without_one(place, refused, command):
    certified = STUDY.replace("held_out", "certify")
    (place / "study.yaml").write_text(certified if command == "certify" else STUDY)
    for given in ("--workers=4", "--address=auto", "--gpus-per-worker=0.5"):
        said = refused(command, "study.yaml", given, *EXTRA.get(command, ()))
        key = given.removeprefix("--").partition("=")[0].replace("-", "_")
        assert f"`{key}` must be left out with executor local, but got" in said
        assert "add `--executor ray`" in said


WITHOUT_RAY = f"import sys\nsys.modules['ray'] = None\n{PROGRAM}"


def test_cluster_without_ray(place, interpreter):
    ran = interpreter.run(WITHOUT_RAY, "search", "study.yaml", "--executor=ray", folder=place)
    assert ran.returncode == 1
    assert "ray is not installed" in ran.stderr
    assert "pip install 'schedsearch[cluster]'" in " ".join(ran.stderr.split())


@pytest.mark.parametrize("command", EXTRA)
def test_store_that_is_another_programs_database(place, refused, command):
    with sqlite3.connect(place / "other.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    said = refused(command, "study.yaml", "--store", "other.db", *EXTRA[command])
    assert "is another program's database" in said


@pytest.mark.parametrize("command", ["report", "compare"])
def test_folder_for_results_that_is_a_file(refused, command):
    said = refused(command, "study.yaml", "--out", "study.yaml", *EXTRA[command])
    assert "study.yaml: cannot be used as a folder" in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("analyze", "demo", "--out", "study.yaml"), "not the name of a picture"),
        (("analyze", "demo", "--data", "gone.jsonl"), "gone.jsonl cannot be read"),
        (("analyze", "demo", "--metric", "good"), "`metric` must be one of"),
        (("profile", "./gone"), "./gone is a path, but the folder"),
        (("profile", "demo", "--data", "demo:test"), "is not a split"),
        (("profile", "demo", "--out", "calibration.jsonl"), "not the name of a JSON file"),
        (("apply", "demo", "gone.json"), "gone.json: there is no such file"),
        (("demo", "run", "--out", "study.yaml"), "study.yaml: cannot be used as a folder"),
        (("demo", "eval", "--split", "test"), "is not a split"),
        (("demo", "train", "study.yaml"), "study.yaml: cannot be used as a folder"),
        (("export", "small", "study.yaml", "--store", "gone.db"), "there is no store gone.db"),
        (("report", "study.yaml", "--store", "gone.db"), "there is no store gone.db"),
        (("report", "faulty.yaml"), "study `small` has no result yet: there is no store"),
        (("search", "study.yaml", "--store", "gone/s.db"), "the folder of gone/s.db does not"),
    ],
)
def test_fault_of_an_argument(refused, args, message):
    assert message in refused(*args)
