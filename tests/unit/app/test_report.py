"""Reports are correct Markdown whatever things are called, and say what they do not know."""

import csv
import json
from pathlib import Path

import pytest

from schedsearch import FunctionMetric, InputError, Schedule
from schedsearch.app.open import open_study
from schedsearch.app.power import power_of_study
from schedsearch.app.report import write_report, write_schedule
from schedsearch.app.report_text import render, without_folders
from schedsearch.app.study_view import StudyView
from schedsearch.core.comparison import Comparison, Row
from schedsearch.core.intervals import Interval
from schedsearch.core.power import resolving
from schedsearch.demo import checkpoint_path
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.data.in_memory import MemorySet
from tests.engine.embedded import embedded
from tests.markdown import headings, tables

ODD = r"a|b *c* _d_ `e` <f> [g](h) \ $i$ ~~j~~ # &amp; ![k]"
FILES = {"report.html", "report.md", "schedule.json", "schedule.png", "trials.csv"}


def opened(folder: Path, name: str = "small", data=None, **sampler):
    """A study of few samples that only asks about the last two layers."""
    model, processor = embedded()
    settings = {"tolerance": 0.5, "first": 6, "floor": 60, **sampler}
    samples = data or ShapesVQA("calibration", 12)
    options = {"processor": processor, "name": name, "store": folder / f"{len(sampler)}.db"}
    return open_study(model, samples, sampler=settings, **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("study")) as opened_study:
        opened_study.run()
        yield opened_study


def compared(schedule: Schedule, data: str = "unseen", *more: Row) -> Comparison:
    """A comparison as it might come out."""
    full, found = Interval(0.9, 0.8, 0.95, 50), Interval(0.85, 0.75, 0.92, 50)
    drop = Interval(0.05, -0.01, 0.11, 50)
    rows = (
        Row("full model", "all of it", full, drop, 1.0, 1.0, 1.0),
        Row("found schedule", "the result", found, None, 0.5, 0.6, 0.55),
        *more,
    )
    return Comparison(
        schedule=schedule,
        data=data,
        data_digest="d1",
        samples=50,
        metric="exact_match",
        rows=rows,
        score=found,
        drop=drop,
        prefill_speedup=1.25,
        prefill_seconds=(0.2, 0.16),
        prefill_batch=4,
        evaluated=100,
    )


def test_report_folder_holds_five_files(study, tmp_path):
    folder = write_report(study, compared(study.best), tmp_path / "new" / "folder")

    assert folder == tmp_path / "new" / "folder"
    assert {file.name for file in folder.iterdir()} == FILES


def test_writing_again_replaces_what_was_there(study, tmp_path):
    write_report(study, compared(study.best, "first"), tmp_path)
    write_report(study, compared(study.best, "second"), tmp_path)

    text = (tmp_path / "report.md").read_text("utf-8")
    assert "second" in text and "first, " not in text
    assert study.comparison == compared(study.best, "second")
    assert {file.name for file in tmp_path.iterdir()} == FILES


def test_names_survive_markdown(tmp_path):
    data = MemorySet(ShapesVQA("calibration", 10), f"{ODD}\nset")
    missing = Row(f"{ODD} row", "odd", reason=f"{ODD} reason")
    with opened(tmp_path, f"{ODD} study", data) as study:
        study.run()
        folder = write_report(study, compared(study.best, f"{ODD} 検索", missing), tmp_path / "r")

    text = (folder / "report.md").read_text("utf-8")
    found = tables(text)
    facts = dict(found["What was searched"])
    assert headings(text)[0] == f"Study {ODD} study"
    assert facts["calibration set"] == f"{ODD} set, 10 samples"
    assert found["On held-out samples"][-1][:2] == [f"{ODD} row", f"not available: {ODD} reason"]
    assert {len(row) for row in found["On held-out samples"]} == {7}


def test_without_held_out_samples_the_report_says_that_quality_is_unknown(
    study, tmp_path, monkeypatch
):
    monkeypatch.setattr(StudyView, "comparison", None)
    folder = write_report(study, None, tmp_path)

    text = (folder / "report.md").read_text("utf-8")
    scores = json.loads((folder / "schedule.json").read_text("utf-8"))["results"]["scores"]
    assert "What it loses is not known" in text
    assert "On held-out samples" not in tables(text)
    assert [score["split"] for score in scores] == ["calibration"]


def test_verdicts_follow_from_the_intervals(study):
    score = Interval(0.8, 0.7, 0.9, 50)
    differences = {
        "better": Interval(0.1, 0.01, 0.19, 50),
        "worse": Interval(-0.1, -0.19, -0.01, 50),
        "undecided": Interval(0.1, -0.01, 0.21, 50),
    }
    rows = [Row(name, "", score, one, 0.5, 0.5, 0.5) for name, one in differences.items()]

    _, _, _, *found = tables(render(study, compared(study.best, "x", *rows)))["On held-out samples"]

    assert [row[0] for row in found] == [row[3] for row in found] == list(differences)


def test_rule_is_stated_with_its_caveat(study, tmp_path):
    with opened(tmp_path, acceptance="confident", tolerance=0.75) as careful:
        careful.run()
        confident = render(careful, None)

    plain = render(study, None)
    assert "upper bound" in confident and "at most 0.75 exact" in confident
    assert "spread is 0 and the bound adds nothing" in confident
    assert "upper bound" not in plain and "at most 0.5 exact" in plain


def test_report_says_whether_the_samples_tell_the_tolerance_from_0(study, tmp_path):
    text = render(study, None)
    assert "### What these samples tell apart" in text
    assert "these 12 samples tell a drop of" in text
    assert "`tolerance`, 0.5, is not less" in text
    with opened(tmp_path, tolerance=0.1, name="unresolved") as other:
        other.run()
        found = render(other, None)
        assert (
            "**`tolerance`, 0.1, is less: which schedules it let pass is partly chance.**" in found
        )
        plans = power_of_study(other)
        assert f"About {resolving(plans.basis.changes, 0.1)} samples" in found


def test_plans_need_a_schedule_that_removes_something(tmp_path):
    with opened(tmp_path) as other:
        other.run(n_trials=1)
        with pytest.raises(InputError, match="has no reduced schedule"):
            power_of_study(other)


def test_nesting_is_reported(study):
    violations, comparable = study.nesting

    text = render(study, None)

    assert comparable > 0
    assert f"Of {comparable} pairs" in text and f", {violations} had the smaller" in text


def test_search_that_is_not_finished_says_so(tmp_path, study):
    with opened(tmp_path) as early:
        early.run(n_trials=2)
        assert "not finished" in render(early, None)
    assert "not finished" not in render(study, None)


def test_study_without_a_result_has_no_report(tmp_path):
    with opened(tmp_path) as empty, pytest.raises(InputError, match="has no result yet"):
        write_report(empty, None, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_comparison_of_another_schedule_is_refused(study, tmp_path):
    with pytest.raises(InputError, match="of another schedule than the result of study `small`"):
        write_report(study, compared(Schedule.full(8)), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_place_that_cannot_be_written_is_one_error(study, tmp_path):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(InputError, match="cannot be written"):
        write_report(study, None, tmp_path / "file")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "not a folder"


def test_file_in_the_place_of_a_folder_leaves_no_part(study, tmp_path):
    (tmp_path / "trials.csv" / "inside").mkdir(parents=True)

    with pytest.raises(InputError, match=r"trials\.csv: cannot be written"):
        write_report(study, None, tmp_path)

    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_report_names_no_place_on_this_machine(tmp_path):
    broken = tmp_path / "somewhere" / "broken.png"
    gone = []

    def scorer(answer, references):
        if gone:
            raise OSError(f"cannot open {broken}")
        return float(answer in references)

    metric = FunctionMetric(scorer, name="scorer", version="1")
    sampler = {"tolerance": 1, "first": 6, "floor": 60, "on_failure": "continue"}
    options = {"sampler": sampler, "metric": metric, "store": tmp_path / "s.db"}
    with open_study(str(checkpoint_path()), ShapesVQA("calibration", 10), **options) as study:
        study.run()
        gone.append(True)
        study.enqueue(Schedule((1.0,) * 7 + (0.5,)))
        study.run()
        missing = Row("odd", "", reason=f"cannot open {broken}")
        folder = write_report(study, compared(study.best, "x", missing), tmp_path / "r")

    assert json.loads((folder / "schedule.json").read_text("utf-8"))["target"]["model"] == (
        checkpoint_path().name
    )
    for name in ("report.md", "trials.csv"):
        assert "cannot open broken.png" in (folder / name).read_text("utf-8")
    for file in folder.iterdir():
        for place in (tmp_path, checkpoint_path().parent):
            assert str(place).encode() not in file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("/a/b/c.png is gone", "c.png is gone"),
        ("image '/a/b c.png': gone", "image 'b c.png': gone"),
        ("OSError('/a/b/c', 3)", "OSError('c', 3)"),
        ("see https://host/a/b", "see https://host/a/b"),
        ("a/b/c.png and 1/2", "a/b/c.png and 1/2"),
    ],
)
def test_absolute_paths_lose_their_folders(message, expected):
    assert without_folders(message) == expected


def test_trials_of_every_kind_share_one_table(tmp_path):
    with opened(tmp_path) as study:
        study.enqueue(Schedule((1.0,) * 7 + (0.5,)))
        study.run(n_trials=2)
        study.enqueue(Schedule((1.0,) * 7 + (0.25,)))
        folder = write_report(study, None, tmp_path / "r")

    with (folder / "trials.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    enqueued, asked, *_, late = lines
    states = [line["state"] for line in (enqueued, asked, late)]
    assert states == ["COMPLETE", "COMPLETE", "WAITING"]
    assert (enqueued["params_layer"], asked["params_layer"]) == ("", "6")
    assert (late["score"], late["keep_7"]) == ("", "0.25")
    assert list(lines[0])[-2:] == ["keep_7", "reason"]


def test_schedule_is_written_without_a_model_at_hand(study, tmp_path):
    write_schedule(StudyView(study.store, study.name), tmp_path / "schedule.json")

    loaded = Schedule.load(tmp_path / "schedule.json")
    assert loaded == study.best
    assert loaded.target is not None
    assert loaded.target.weights == study.spec.weights


def test_result_that_a_user_enqueued_knows_its_model_too(tmp_path):
    with opened(tmp_path) as study:
        study.enqueue(Schedule((1.0,) * 6 + (60 / 64,) * 2))
        study.run()
        assert study.best.target is None
        write_schedule(study, tmp_path / "schedule.json")

        target = Schedule.load(tmp_path / "schedule.json").target
        assert target is not None
        assert target.weights == study.spec.weights
