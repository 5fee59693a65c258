"""What commands write: never over something else, through what is no file, checked before work."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from schedsearch import InputError, Schedule
from schedsearch.app.compare import compare
from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare
from schedsearch.app.open import open_study
from schedsearch.app.report import write_report
from schedsearch.core.latency import LatencyModel
from schedsearch.demo.shapesvqa import ShapesVQA
from tests.engine.embedded import embedded
from tests.pace import some

STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 12
  held_out: demo:held-out
  held_out_samples: 4
search: {tolerance: 0.5, floor: 60, first: 6}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Folder with a study file and its store."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    config = read_study_file(folder / "study.yaml")
    with prepare(config, folder, folder / "s.db").open() as study:
        study.run()
    return folder


@pytest.fixture
def place(searched, tmp_path, monkeypatch):
    """A copy of it, where commands run."""
    shutil.copytree(searched, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files below a folder but SQLite's own two."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm")
    }


EXPORT = ("export", "small", "--store", "s.db")


@pytest.mark.parametrize("target", ["s.db", "study.yaml", "link"])
@pytest.mark.parametrize("force", [False, True])
def test_export_never_replaces_the_store_and_no_other_file_unforced(run, place, target, force):
    (place / "link").symlink_to("s.db")
    before = contents(place)
    ran = run(*EXPORT, target, *(["--force"] if force else []))
    if force and target == "study.yaml":
        assert ran.code == 0, ran.err
        assert Schedule.load(place / "study.yaml").layers == 8
        return
    assert ran.code == 2
    assert ("is in use" if target != "study.yaml" else "is not a schedule file") in ran.err
    assert contents(place) == before
    assert [row["spec"]["name"] for row in json.loads(run("list", "--store", "s.db", "--json").out)]


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("report", "study.yaml", "--store", "s.db", "--out", "out"), "schedule.json"),
        (("report", "study.yaml", "--store", "s.db", "--out", "out"), "schedule.png"),
        (("report", "study.yaml", "--store", "s.db", "--out", "out"), "trials.csv"),
        (("report", "study.yaml", "--store", "s.db", "--out", "out"), "report.md"),
        (("report", "study.yaml", "--store", "s.db", "--out", "out"), "report.html"),
        (("compare", "study.yaml", "--store", "s.db", "--budget", "flops:0.6"), "compare.json"),
        (("compare", "study.yaml", "--store", "s.db", "--budget", "flops:0.6"), "compare.png"),
        (("compare", "study.yaml", "--store", "s.db", "--budget", "flops:0.6"), "compare.md"),
        (("demo", "run", "--out", "out"), "schedule.png"),
        (("profile", "demo", "--out", "out/latency.json"), "latency.json"),
        (("profile", "demo", "--out", "out/latency.json"), "latency.png"),
        (("analyze", "demo", "--out", "out/picture.png"), "picture.png"),
        (("export", "small", "out/schedule.json", "--store", "s.db"), "schedule.json"),
        (("demo", "train", "out"), "training_state.pt"),
        (("demo", "train", "out"), "checkpoint/README.md"),
    ],
)
@pytest.mark.parametrize("content", ["words of mine\n", None])
def test_no_file_of_another_kind_and_no_folder_is_replaced(
    run, place, monkeypatch, command, file, content
):
    monkeypatch.setattr("schedsearch.models.loading.load_model", unreachable)
    if command[0] == "compare":
        command = (*command, "--out", "out")
    taken = place / "out" / file
    if content is None:
        taken = taken.parent if "/" in file else taken
        if taken.name == "checkpoint":
            taken = taken / "model.safetensors"
        taken.mkdir(parents=True)
    else:
        taken.parent.mkdir(parents=True)
        taken.write_text(content)
    before = contents(place)
    ran = run(*command)
    assert ran.code == 2, ran.err
    assert f"out/{file.partition('/')[0]}: " in ran.err
    assert contents(place) == before


def unreachable(*_given, **_options):
    """In place of what is looked up at each call: a name that a module imports would stay."""
    raise AssertionError("the work has begun")


@pytest.mark.parametrize(
    "command",
    [
        ("report", "study.yaml", "--store", "s.db"),
        ("compare", "study.yaml", "--store", "s.db", "--budget", "flops:0.6"),
        ("demo", "run"),
        ("demo", "train"),
    ],
)
@pytest.mark.parametrize("out", ["study.yaml", "study.yaml/deep", "-"])
def test_folder_that_cannot_be_one_is_refused_before_the_work(
    run, place, monkeypatch, command, out
):
    monkeypatch.setattr("schedsearch.models.loading.load_model", unreachable)
    before = contents(place)
    ran = run(*command, *([out] if command[1] == "train" else ["--out", out]))
    assert ran.code == 2
    assert "takes no folder" in ran.err if out == "-" else "cannot be used as a folder" in ran.err
    assert contents(place) == before


@pytest.mark.parametrize("name", some(["-", "/dev/fd/1", "link"], ["link"]))
def test_schedule_goes_to_standard_output_alone(place, name):
    (place / "link").symlink_to("/proc/self/fd/1")
    command = [sys.executable, "-c", "from schedsearch.cli import main; main()", *EXPORT, name]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["format"] == "schedsearch.schedule/1"
    assert "FLOPs ratio" in ran.stderr and f"Schedule: {name}" in ran.stderr
    assert {path.name for path in place.iterdir()} >= {"study.yaml", "s.db", "link"}
    assert (place / "link").is_symlink()
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "name a file" in ran.stderr


@pytest.mark.full
@pytest.mark.usefixtures("place")
def test_picture_goes_to_standard_output():
    command = [sys.executable, "-c", "from schedsearch.cli import main; main()"]
    options = ["analyze", "demo", "-n", "4", "--schedules", "0", "--out", "-"]
    ran = subprocess.run([*command, *options], capture_output=True, check=True)
    assert ran.stdout.startswith(b"\x89PNG") and ran.stdout.endswith(b"IEND\xaeB`\x82")
    assert b"Picture: -" in ran.stderr


@pytest.mark.full
def test_latency_model_goes_to_standard_output_without_a_picture(place):
    command = [sys.executable, "-c", "from schedsearch.cli import main; main()"]
    options = ["profile", "demo", "-n", "4", "--repeats", "1", "--out", "-"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert LatencyModel.from_json(ran.stdout).layers == 8
    assert "mean absolute error" in ran.stderr
    assert set(contents(place)) == {"study.yaml", "s.db"}


@pytest.mark.usefixtures("place")
def test_printing_goes_on_to_standard_output_afterwards(run):
    assert run(*EXPORT, "-", "--json").code == 2
    assert "small" in run("list", "--store", "s.db").out


def test_schedule_is_not_saved_over_another_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists and is not a schedule file"):
        Schedule.full(2).save(path)
    assert path.read_text() == "mine"
    Schedule.full(2).save(path, force=True)
    assert Schedule.load(path) == Schedule.full(2)


def test_comparison_says_its_format_and_is_written_again(run, place):
    command = ("compare", "study.yaml", "--store", "s.db", "--budget", "feasible:0.5")
    for _ in range(2):
        ran = run(*command, "--trials", 1, "--out", "out")
        assert ran.code == 0, ran.err
    found = json.loads((place / "out" / "compare.json").read_text())
    assert found["format"] == "schedsearch.comparison/1"
    assert found["study"] == "small"


def test_report_of_a_study_that_goes_on_is_of_one_moment(tmp_path):
    model, processor = embedded()
    sampler = {"tolerance": 0.5, "first": 6, "floor": 60}
    options = {"processor": processor, "store": tmp_path / "s.db"}
    with open_study(model, ShapesVQA("calibration", 12), sampler=sampler, **options) as study:
        study.run(n_trials=1)
        now, best = study.snapshot(), study.best
        comparison = compare(now, ShapesVQA("held-out", 4), now.best, searched_on(study), repeats=1)
        assert study.best != best
        folder = write_report(now, comparison, tmp_path / "out")
        assert now.effort != study.effort
        with pytest.raises(InputError, match="of another schedule"):
            write_report(study, comparison, tmp_path / "out")
    assert Schedule.load(folder / "schedule.json") == best
    assert len((folder / "trials.csv").read_text().splitlines()) == 1 + len(now.trials)
    text = (folder / "report.md").read_text()
    assert "| trials | 1 complete, 1 waiting |" in text and "not finished" in text
    assert f"cost {now.effort.spent:.1f} full passes" in text


def searched_on(study):
    """A progress bar beside which the search goes on."""

    def start(_name):
        study.run()
        return lambda _done, _all: None

    return start


@pytest.mark.parametrize("made", [False, True])
def test_report_needs_a_study_and_makes_none(run, place, made):
    if made:
        other = (place / "study.yaml").read_text().replace("study: small", "study: other")
        (place / "study.yaml").write_text(other)
    before = contents(place)
    ran = run("report", "study.yaml", "--store", "s.db" if made else "typo.db")
    assert ran.code == 2
    assert "has no result yet" in ran.err
    assert contents(place) == before
    assert not (place / "typo.db").exists()


@pytest.mark.parametrize(
    "change",
    [
        ("model: demo", "model: no/such-model"),
        ("floor: 60", "floor: 65"),
        ("{tolerance: 0.5, floor: 60, first: 6}", "{sampler: random, budget: {flops: 0.01}}"),
        ("{tolerance: 0.5, floor: 60, first: 6}", "{sampler: random, warm_start: ['study:x'], "
         "budget: {flops: 0.6}}"),
    ],
)  # fmt: skip
def test_failing_search_leaves_no_store(run, place, change):
    (place / "study.yaml").write_text((place / "study.yaml").read_text().replace(*change))
    before = contents(place)
    ran = run("search", "study.yaml", "--store", "new.db")
    assert ran.code == 2, ran.err
    assert contents(place) == before
    with pytest.raises(InputError):
        open_study("no/such-model", ShapesVQA("calibration", 12), sampler={"tolerance": 1})
    assert contents(place) == before


def test_store_whose_place_is_unusable_is_refused_before_the_model(run, place):
    study = (place / "study.yaml").read_text().replace("model: demo", "model: no/such-model")
    (place / "study.yaml").write_text(study)
    ran = run("search", "study.yaml", "--store", "missing/s.db")
    assert (ran.code, "the folder of missing/s.db does not exist" in ran.err) == (2, True)
    with sqlite3.connect(place / "other.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    ran = run("search", "study.yaml", "--store", "other.db")
    assert (ran.code, "is another program's database" in ran.err) == (2, True)
