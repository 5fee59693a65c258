"""From a search to its report, on the embedded model: every number is computed once more here."""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image

from schedsearch import DataError, RankerSpec, Schedule, reduce
from schedsearch.app.compare import FOUND, FULL, compare
from schedsearch.app.open import open_study
from schedsearch.app.report import write_report
from schedsearch.app.study import Study
from schedsearch.app.study_view import trial_row
from schedsearch.core import intervals
from schedsearch.core.comparison import Comparison, Row
from schedsearch.core.flops import flops_ratio, kv_ratio, prefill_flops
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import FirstSamples, Grid, Sample
from schedsearch.core.trial import Task, Trial
from schedsearch.demo import checkpoint_path
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.data.in_memory import MemorySet
from schedsearch.evaluation.downsample import Downsampler
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.adapters import adapter_for
from schedsearch.models.loading import load_model
from schedsearch.version import VERSION
from tests.engine.embedded import embedded
from tests.markdown import tables

CALIBRATION = ShapesVQA("calibration", 24)
HELD_OUT = ShapesVQA("held-out", 40)
IDS = tuple(sample.id for sample in HELD_OUT)
NAMES = (
    FULL,
    FOUND,
    "random tokens",
    "uniform",
    "linear",
    "FastV-style step",
    "downsampled image",
)


def silent(_name: str):
    return lambda _done, _all: None


@dataclass(frozen=True)
class Reported:
    """A study that was searched, compared and reported."""

    study: Study
    comparison: Comparison
    folder: Path
    trials_before: list[Trial]

    @property
    def text(self) -> str:
        return (self.folder / "report.md").read_text(encoding="utf-8")

    def row(self, name: str) -> Row:
        return next(row for row in self.comparison.rows if row.name == name)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    model, processor = embedded()
    # A tolerance at which the result drops tokens in steps and changes answers.
    sampler = {"tolerance": 0.1, "first": 3, "floor": 2}
    options = {"processor": processor, "store": folder / "s.db", "name": "reported"}
    with open_study(model, CALIBRATION, sampler=sampler, **options) as study:
        study.run()
        trials = study.trials
        comparison = compare(study, HELD_OUT, study.best, silent, repeats=1)
        yield Reported(study, comparison, write_report(study, comparison, folder / "out"), trials)


@cache
def evaluator():
    return Evaluator(*embedded(), HELD_OUT, make_metric("exact_match"))


@cache
def scores(schedule: Schedule) -> Sequence[float]:
    found = evaluator().evaluate(Task(schedule, "held-out", IDS))
    return [one.score for one in found]


@cache
def tokens():
    return tuple(evaluator().sample_tokens(IDS))


@cache
def shape():
    return adapter_for(embedded()[0]).shape(embedded()[0])


def prompt(sample: Sample, processor):
    content = [{"type": "image"}, {"type": "text", "text": sample.question}]
    message = {"role": "user", "content": content}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    return dict(processor(text=text, images=sample.images[0](), return_tensors="pt"))


def estimate(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def shown(interval: Interval, sign: str = "") -> str:
    value, low, high = (format(number, f"{sign}.4f") for number in astuple(interval)[:3])
    return f"{value} [{low}, {high}]"


def cost(schedule: Schedule) -> float:
    return flops_ratio(shape(), schedule, tokens())


def costliest(curves: Iterable[Sequence[float]], ranker: str, budget: float) -> Schedule:
    """Of ascending curves the last within the budget."""
    schedules = [Schedule(tuple(keep), RankerSpec(ranker)) for keep in curves]
    return [schedule for schedule in schedules if cost(schedule) <= budget][-1]


def line(level: float) -> list[float]:
    depths = [step / 4 for step in range(5)]
    return [1.0, 1.0, 1.0, *(min(1.0, max(0.0, level + 0.5 - depth)) for depth in depths)]


def expected_schedules(found: Schedule) -> dict[str, Schedule]:
    shares = [k / 64 for k in range(65)]
    levels = [k / 2000 for k in range(-1000, 3001)]
    budget = cost(found)
    return {
        FULL: Schedule.full(8),
        FOUND: found,
        "random tokens": Schedule(found.keep, RankerSpec("random")),
        "uniform": costliest(([1.0] + [share] * 7 for share in shares), "uniform", budget),
        "linear": costliest(map(line, levels), "last", budget),
        "FastV-style step": costliest(
            ([1.0] * 2 + [share] * 6 for share in shares), "last", budget
        ),
    }


def test_rows_are_the_evaluations_of_their_schedules(reported):
    found = reported.study.best
    assert tuple(row.name for row in reported.comparison.rows) == NAMES
    assert scores(found) != scores(Schedule.full(8)), (
        "a schedule that changes nothing tests nothing"
    )

    for name, schedule in expected_schedules(found).items():
        row = reported.row(name)
        assert row.score == intervals.of_scores(scores(schedule)), name
        assert row.flops_ratio == pytest.approx(cost(schedule), abs=1e-12), name
        assert row.kv_ratio == pytest.approx(kv_ratio(shape(), schedule, tokens()), abs=1e-12), name
        assert row.mean_keep == pytest.approx(sum(schedule.keep) / 8, abs=1 / 64), name


def test_differences_are_paired_and_row_minus_found(reported):
    found = scores(reported.study.best)
    for name, schedule in expected_schedules(reported.study.best).items():
        expected = intervals.paired_difference(scores(schedule), found)
        assert reported.row(name).difference == (None if name == FOUND else expected), name

    full = scores(Schedule.full(8))
    assert reported.comparison.drop == intervals.paired_difference(full, found)
    assert reported.comparison.score == intervals.of_scores(found)


def test_no_baseline_costs_more_than_the_found_schedule(reported):
    budget = reported.row(FOUND).flops_ratio
    for row in reported.comparison.rows[2:]:
        # Seven layers, one token each, of 64 vision tokens and text: what may be left over.
        assert budget - 0.1 < row.flops_ratio <= budget, row.name


def test_downsampled_row_is_the_model_on_smaller_images(reported):
    model, processor = embedded()
    row = reported.row("downsampled image")
    rows, columns = map(int, re.search(r"(\d+) x (\d+) patches", row.what).groups())
    downsampler = Downsampler(model, processor)
    small = downsampler.processor(Grid(rows, columns))
    right = []
    with torch.inference_mode(), downsampler.interpolating():
        for sample in HELD_OUT:
            inputs = prompt(sample, small)
            answer = model.generate(**inputs, max_new_tokens=8, do_sample=False)
            text = processor.decode(answer[0, inputs["input_ids"].shape[1] :], True)
            right.append(float(text.strip() == sample.answers[0]))

    full, n = shape(), rows * columns
    costs = [
        sum(prefill_flops(full, [vision] * 8, one.n_text) for one in tokens()) for vision in (n, 64)
    ]
    assert row.score == intervals.of_scores(right)
    expected = intervals.paired_difference(right, scores(reported.study.best))
    assert row.difference == expected
    assert row.flops_ratio == costs[0] / costs[1]
    assert row.mean_keep == n / 64


def test_prefill_was_measured_on_prompts_of_the_held_out_set(reported):
    full, reduced = reported.comparison.prefill_seconds
    assert full > 0 and reduced > 0
    assert reported.comparison.prefill_speedup == full / reduced  # of a single pair
    assert 1 < reported.comparison.prefill_batch <= len(HELD_OUT)


def test_search_never_sees_the_held_out_samples(reported):
    assert reported.study.trials == reported.trials_before
    assert reported.study.finished


def test_second_comparison_evaluates_nothing(reported):
    again = compare(reported.study, HELD_OUT, reported.study.best, silent, repeats=1)

    assert reported.comparison.evaluated == 40 * len(NAMES)
    assert again.evaluated == 0
    assert again.rows == reported.comparison.rows


def test_model_is_as_before(reported):
    model, processor = embedded()
    fresh, _ = load_model(checkpoint_path(), device="cpu")
    inputs = prompt(next(iter(HELD_OUT)), processor)

    assert reported.comparison.evaluated > 0
    with torch.inference_mode():
        difference = (model(**inputs).logits - fresh(**inputs).logits).abs().max()
        assert difference < 1e-3  # of logits up to 20, between two loads of the same weights
        with pytest.raises(ValueError, match="doesn't match model"):
            model.model.vision_tower(inputs["pixel_values"][..., :32])


def test_baseline_that_the_model_does_not_allow_is_listed_with_the_reason(reported, monkeypatch):
    model, _ = embedded()
    tower = model.model.vision_tower
    whole = tower.forward
    monkeypatch.setattr(
        tower, "forward", lambda pixel_values, **others: whole(pixel_values, **others)
    )

    comparison = compare(reported.study, HELD_OUT, reported.study.best, silent, repeats=1)

    *others, missing = comparison.rows
    assert tuple(others) == reported.comparison.rows[:-1]
    assert missing.score is None and missing.difference is None
    assert "no vision tower that interpolates" in missing.reason


def test_budget_that_a_family_cannot_reach_is_listed_with_the_range(reported):
    early = Schedule((1.0, *[0.0] * 7), RankerSpec("random"))

    comparison = compare(reported.study, FirstSamples(HELD_OUT, 4), early, silent, repeats=1)

    reasons = {row.name: row.reason for row in comparison.rows if row.score is None}
    assert set(reasons) == {"linear", "FastV-style step"}
    assert "must be a FLOPs ratio in [" in reasons["linear"]


def test_at_full_budget_every_row_is_the_full_model(reported):
    few = FirstSamples(HELD_OUT, 4)

    comparison = compare(reported.study, few, Schedule.full(8), silent, repeats=1)

    # Images of full size went through another processor, so their scores are not taken for others.
    assert comparison.evaluated == len(few)
    assert {row.score for row in comparison.rows} == {comparison.score}
    assert {row.flops_ratio for row in comparison.rows} == {1.0}


def test_shared_sample_is_refused_before_anything_is_evaluated(reported):
    twin = replace(list(CALIBRATION)[7], id="twin")
    data = MemorySet([*FirstSamples(HELD_OUT, 3), twin], "leaky", "held-out")
    asked = []

    with pytest.raises(DataError, match="'twin' .* calibration sample 'calibration/000007'"):
        compare(reported.study, data, reported.study.best, asked.append)

    assert asked == []


def test_single_held_out_sample_is_refused(reported):
    with pytest.raises(DataError, match="at least 2 held-out samples, but got 1"):
        compare(reported.study, FirstSamples(HELD_OUT, 1), reported.study.best, silent)


def test_schedule_file_holds_the_result_and_what_was_measured(reported):
    study = reported.study
    file = json.loads((reported.folder / "schedule.json").read_text("utf-8"))
    calibration = Evaluator(*embedded(), CALIBRATION, make_metric("exact_match"))
    ids = tuple(sample.id for sample in CALIBRATION)
    full, found = (
        [one.score for one in calibration.evaluate(Task(schedule, "calibration", ids))]
        for schedule in (Schedule.full(8), study.best)
    )
    seen, unseen = file["results"]["scores"]

    assert Schedule.load(reported.folder / "schedule.json") == study.best
    assert file["target"]["weights"] == study.spec.weights
    prompts = calibration.sample_tokens(ids)
    assert file["results"]["flops_ratio"] == flops_ratio(shape(), study.best, prompts)
    assert file["results"]["kv_ratio"] == kv_ratio(shape(), study.best, prompts)
    assert (seen["split"], seen["n"], seen["metric"]) == ("calibration", 24, "exact_match")
    assert seen["score"] == estimate(intervals.mean(found))
    assert seen["drop"] == estimate(intervals.paired_difference(full, found))
    assert (unseen["split"], unseen["n"], unseen["metric"]) == ("held-out", 40, "exact_match")
    assert unseen["score"] == estimate(intervals.of_scores(scores(study.best)))
    drop = intervals.paired_difference(scores(Schedule.full(8)), scores(study.best))
    assert unseen["drop"] == estimate(drop)


def test_schedule_file_says_where_it_comes_from(reported):
    spec = reported.study.spec
    found = json.loads((reported.folder / "schedule.json").read_text("utf-8"))["provenance"]

    age = datetime.now(UTC) - datetime.fromisoformat(found.pop("created"))
    assert timedelta(0) <= age < timedelta(hours=1)
    assert found == {
        "version": VERSION,
        "study": "reported",
        "spec": spec.digest(),
        "seed": 0,
        "calibration": {"name": CALIBRATION.name, "digest": CALIBRATION.digest()},
    }


def test_snippet_of_the_report_applies_the_schedule(reported, monkeypatch):
    model, processor = embedded()
    code = re.search(r"```python\n(.*?)```", reported.text, re.DOTALL)
    sample = next(iter(HELD_OUT))
    inputs = prompt(sample, processor)
    place = {"model": model, "inputs": inputs}
    monkeypatch.chdir(reported.folder)

    exec(code[1], place)  # noqa: S102 - what the report tells users to run

    with reduce(model, reported.study.best):
        expected = model.generate(**inputs, max_new_tokens=20)
    assert torch.equal(place["output"], expected)


def test_tables_of_the_report_hold_the_figures(reported):
    found = tables(reported.text)
    _, *rows = found["On held-out samples"]
    _, *layers = found["What was found"]

    for row, (name, score, difference, verdict, *ratios) in zip(
        reported.comparison.rows, rows, strict=True
    ):
        assert (name, score) == (row.name, shown(row.score))
        assert ratios == [f"{x:.4f}" for x in (row.flops_ratio, row.kv_ratio, row.mean_keep)]
        if name == FOUND:
            assert difference == verdict == ""
            continue
        low, high = row.difference.low, row.difference.high
        assert difference == shown(row.difference, "+")
        assert verdict == ("better" if low > 0 else "worse" if high < 0 else "undecided")
    expected = [(str(one.layer), str(one.count)) for one in reported.study.layers()]
    assert [tuple(cells[:2]) for cells in layers] == expected


def test_trials_file_has_a_line_per_trial(reported):
    with (reported.folder / "trials.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))

    expected = [trial_row(trial) for trial in reported.study.trials]
    written = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in expected
    ]
    assert written == lines


def test_picture_is_an_image(reported):
    with Image.open(reported.folder / "schedule.png") as picture:
        picture.load()
    assert picture.width > picture.height > 300


def test_sets_serve_the_use_that_they_are_given_for(tmp_path):
    (model, processor), made = embedded(), ShapesVQA("certify", 12)
    others = ShapesVQA("calibration", 12)
    options = {"processor": processor, "sampler": {"tolerance": 0.5, "floor": 60, "first": 7}}
    with open_study(model, made, store=tmp_path / "s.db", **options) as study:
        study.run(n_trials=1)
        found = compare(study, others, study.best, silent, alone=True)
        assert (found.data, found.data_digest) == (others.name, others.digest())
        assert study.run().ending == "finished"
        shown = study.exhibit(samples=2)
        exhibits = study.store.exhibits(study.name, shown.trial)
        assert [one.split for one in exhibits] == ["calibration"] * 2
        proof = study.certify(ShapesVQA("held-out", 12), 0.5)
        assert proof.request.data_digest == ShapesVQA("held-out", 12).digest()
