"""What would spoil a search, or its report, is said before it begins."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from schedsearch.store import open_store
from tests.unit.store.strategies import SPEC

STUDY = """
study: small
model: {model}
data:
  calibration: calibration.jsonl
  held_out: held-out.jsonl
search: {search}
"""


def rows(folder, name, colours, **fields):
    lines = []
    for number, colour in enumerate(colours):
        image = f"{name}-{number}.png"
        Image.new("RGB", (8, 8), colour).save(folder / image)
        row = {"question": "what color is at a1 ?", "answer": "red", "image": image, **fields}
        lines.append(json.dumps({key: value for key, value in row.items() if value is not None}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines))


@pytest.fixture
def written(tmp_path):
    """A study whose model does not exist: whatever is said before comes before loading it."""
    rows(tmp_path, "calibration", [(one, 0, 0) for one in range(12)])
    rows(tmp_path, "held-out", [(0, one, 1) for one in range(4)])

    def write(model="no/such-model", search="{tolerance: 0.5}"):
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.format(model=model, search=search))
        return path

    return write


def refused(run, command, study, store):
    extra = ["--budget", "flops:0.5"] if command == "compare" else []
    if command == "report":  # of a study that there is
        with open_store(store) as made:
            made.create_study(replace(SPEC, name="small"))
    ran = run(command, study, "--store", store, *extra)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    return ran.err


@pytest.mark.parametrize("command", ["search", "report", "compare"])
def test_image_of_both_sets_is_found_first(run, written, tmp_path, command):
    rows(tmp_path, "held-out", [(0, 1, 1), (3, 0, 0)])
    said = refused(run, command, written(), tmp_path / "s.db")
    assert "held-out sample '2' shows the image of calibration sample '4'" in said


@pytest.mark.parametrize("command", ["search", "report"])
def test_held_out_set_without_answers_or_of_one_sample_is_found_first(
    run, written, tmp_path, command
):
    rows(tmp_path, "held-out", [(0, 1, 1), (0, 2, 1)], answer=None)
    assert "has no answers" in refused(run, command, written(), tmp_path / "s.db")
    rows(tmp_path, "held-out", [(0, 1, 1)])
    assert "at least 2 held-out samples" in refused(run, command, written(), tmp_path / "s.db")


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_too_few_samples_are_refused(run, written, tmp_path, samples):
    rows(tmp_path, "calibration", [(one, 0, 0) for one in range(samples)])
    said = refused(run, "search", written("demo"), tmp_path / "s.db")
    assert f"must have at least 10 samples, but got {samples}" in said


@pytest.mark.parametrize(
    "search", ["{sampler: random, budget: {flops: 0.6}}", "{sampler: frontier, max_drop: 0.1}"]
)
def test_too_few_samples_are_refused_whatever_the_search(run, written, tmp_path, search):
    rows(tmp_path, "calibration", [(1, 0, 0), (2, 0, 0)])
    said = refused(run, "search", written("demo", search), tmp_path / "s.db")
    assert "must have at least 10 samples, but got 2" in said


@pytest.mark.parametrize(
    ("search", "name"),
    [("{tolerance: 0.01}", "tolerance"), ("{sampler: frontier, max_drop: 0.01}", "max_drop")],
)
def test_tolerance_that_acts_like_zero_is_said(run, written, tmp_path, caplog, search, name):
    refused(run, "search", written(search=search), tmp_path / "s.db")
    assert f"`{name}` 0.01 acts like 0: of 12 samples one lost answer weighs 0.083" in caplog.text


def test_comparison_without_held_out_data_is_refused_first(run, written, tmp_path):
    study = written()
    study.write_text(study.read_text().replace("  held_out: held-out.jsonl\n", ""))
    assert "names no `data.held_out`" in refused(run, "compare", study, tmp_path / "s.db")


def test_model_is_beside_the_study_file_wherever_the_command_runs(
    run, written, tmp_path, monkeypatch
):
    from schedsearch.demo import checkpoint_path

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own").symlink_to(checkpoint_path(), target_is_directory=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    search = "{tolerance: 1, floor: 60, first: 7}"
    ran = run("search", written("models/own", search), "--store", tmp_path / "s.db")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("./none", "./none is a path, but the folder "),
        ("models/none", "there is no folder "),
    ],
)
def test_model_that_is_nowhere_is_missed_where_it_should_be(run, written, tmp_path, model, said):
    error = refused(run, "search", written(model), tmp_path / "s.db")
    assert f"{said}{tmp_path / model}" in error
