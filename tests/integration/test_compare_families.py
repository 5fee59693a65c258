"""Families at equal budgets on the embedded model: every figure is computed once more here."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from statistics import mean

import pytest

from schedsearch import RankerSpec
from schedsearch.app.compare_families import (
    FAMILY_SEARCHES,
    FASTV,
    OURS,
    VTW,
    VTW_ABOVE,
    compare_families,
)
from schedsearch.app.compare_families_report import write_family_comparison
from schedsearch.app.open import open_study
from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.demo import checkpoint_path
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import InputError
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.loading import load_model
from tests.markdown import tables

HELD_OUT = ShapesVQA("held-out", 24)
CALIBRATION = ShapesVQA("calibration", 16)
TRIALS = 2
HALF = Budget("feasible", 0.5)


def silent(_name: str):
    return lambda _done, _all: None


@pytest.fixture(scope="module")
def model():
    return load_model(str(checkpoint_path()))


@pytest.fixture(scope="module")
def study(model, tmp_path_factory):
    with open_study(
        model[0],
        CALIBRATION,
        processor=model[1],
        name="s",
        sampler={"tolerance": 0, "method": "scan", "first": 6, "floor": 60},
        ranker=RankerSpec.from_mapping("local", {"window": 2, "rows": "last"}),
        store=tmp_path_factory.mktemp("store") / "s.db",
    ) as opened:
        opened.run()
        yield opened


@pytest.fixture(scope="module")
def found(study):
    return compare_families(study, HELD_OUT, [HALF], TRIALS, silent)


def evaluating(model, samples):
    evaluator = Evaluator(*model, samples, make_metric("exact_match"))
    ids = tuple(sample.id for sample in samples)

    def of(schedule) -> list[float]:
        return [one.score for one in evaluator.evaluate(Task(schedule, samples.split, ids))]

    return of


@pytest.fixture(scope="module")
def scores(model):
    return evaluating(model, HELD_OUT)


@pytest.fixture(scope="module")
def calibration_scores(model):
    return evaluating(model, CALIBRATION)


def test_every_family_is_searched_under_the_budget(study, found):
    (one,) = found.rounds
    names = [entry.row.name for entry in one.entries]
    assert names == [*(each.name for each in FAMILY_SEARCHES), VTW_ABOVE, "G-Search, scaled"]
    limit = study.subject.costs(one.entries[0].schedule)[0]
    for entry in one.entries:
        cost, _ = study.subject.costs(entry.schedule)
        # VTW moves by whole layers.
        assert cost <= limit + 0.01 or entry.row.name == VTW_ABOVE
        assert cost > limit - 0.03 or entry.row.name == VTW
        assert entry.schedule.ranker == study.spec.ranker
    tried = {entry.row.name: entry.evaluations for entry in one.entries}
    singles = {VTW: 1, "uniform": 1, VTW_ABOVE: 0, "G-Search, scaled": 0}
    assert tried == {name: singles.get(name, TRIALS) for name in names}


def test_figures_are_held_out_scores_paired_with_ours(found, scores):
    (one,) = found.rounds
    ours = scores(one.entries[0].schedule)
    assert one.entries[0].row.difference is None
    for entry in one.entries:
        own = scores(entry.schedule)
        assert entry.row.score == intervals.of_scores(own)
        if entry.row.name != OURS:
            assert entry.row.difference == intervals.paired_difference(own, ours)
    others = {e.row.name: e.row.difference for e in one.entries[1:]}
    assert one.ahead == {name: d.low > 0 for name, d in others.items() if d.value > 0}
    assert one.beaten(FASTV) == (others[FASTV].high < 0)


def test_vtw_is_shown_on_both_sides_of_the_budget(study, found):
    (one,) = found.rounds
    vtw = {e.row.name: e.schedule.counts(64) for e in one.entries if e.row.name.startswith(VTW)}
    below, above = vtw[VTW].count(64), vtw[VTW_ABOVE].count(64)
    assert above == below + 1
    costs = [study.subject.costs(e.schedule)[0] for e in one.entries if e.row.name in vtw]
    assert costs[0] <= HALF.limit(study.subject.shape, study.subject.tokens, 6) < costs[1]


def test_g_search_is_shown_beside_and_scaled(study, found, scores):
    assert found.found.schedule == study.best
    assert found.found.row.score == intervals.of_scores(scores(study.best))
    (one,) = found.rounds
    scaled = one.entries[-1].schedule
    limit = HALF.limit(study.subject.shape, study.subject.tokens, study.sampler.first)

    def counts(step: int) -> tuple[int, ...]:
        return Schedule(scaled_by(study.best.keep, step / 4096)).counts(64)

    def exceeds(step: int) -> bool:
        return study.subject.costs(Schedule.from_counts(counts(step), 64))[0] > limit

    assert scaled.counts(64) == counts(bisect_left(range(8193), True, key=exceeds) - 1)


def scaled_by(keep: Sequence[float], scale: float) -> tuple[float, ...]:
    """From layer 6 on: up to 1 a factor on what is kept, from there on on what is dropped."""
    if scale <= 1:
        return (*keep[:6], *(scale * ratio for ratio in keep[6:]))
    return (*keep[:6], *(1 - (2 - scale) * (1 - ratio) for ratio in keep[6:]))


def test_second_comparison_goes_on_where_the_first_ended(study, found):
    before = [len(study.store.trials(each.spec.name)) for each in study.store.studies()]
    again = compare_families(study, HELD_OUT, [HALF], TRIALS, silent)
    assert again == found
    assert before == [len(study.store.trials(each.spec.name)) for each in study.store.studies()]


@pytest.mark.usefixtures("found")
def test_held_out_scores_reach_no_history(study, calibration_scores):
    names = [summary.spec.name for summary in study.store.studies()]
    assert len(names) == 1 + len(FAMILY_SEARCHES)
    seen = {}
    for name in names:
        for trial in study.store.trials(name):
            if trial.measurement is not None and trial.samples is None:
                seen[trial.schedule] = trial.measurement.score
    for schedule in list(seen)[::4]:
        assert mean(calibration_scores(schedule)) == pytest.approx(seen[schedule])


def test_report_says_what_the_data_say(found, tmp_path):
    write_family_comparison(found, tmp_path / "out")
    text = (tmp_path / "out" / "compare.md").read_text()
    (table,) = tables(text).values()
    assert [row[0] for row in table][1:] == [e.row.name for e in found.rounds[0].entries]
    assert ("at or above every other" in text) == (not found.rounds[0].ahead)
    assert (tmp_path / "out" / "compare.png").read_bytes()[:4] == b"\x89PNG"
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["rounds"][0]["entries"][3]["row"]["name"] == FASTV


def test_budget_out_of_reach_is_named(study):
    with pytest.raises(InputError, match=r"`--budget flops: 0.01`.*which this family can reach"):
        compare_families(study, HELD_OUT, [Budget("flops", 0.01)], TRIALS, silent)
