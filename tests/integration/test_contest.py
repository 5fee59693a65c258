"""Families at equal budgets on the embedded model: every figure is computed once more here."""

import json

import pytest

from schedsearch import RankerSpec
from schedsearch.app.contest import CONTENDERS, FASTV, OURS, VTW, contest
from schedsearch.app.contest_report import write_contest
from schedsearch.app.open import open_study
from schedsearch.core import intervals
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.trial import Task
from schedsearch.demo import checkpoint_path
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.engine.evaluator import Evaluator
from schedsearch.engine.loading import load_model
from schedsearch.engine.metrics import make_metric
from schedsearch.errors import InputError
from schedsearch.store.store import open_store
from tests.markdown import tables

HELD_OUT = ShapesVQA("held-out", 24)
IDS = tuple(sample.id for sample in HELD_OUT)
TRIALS = 2


def silent(_name: str):
    return lambda _done, _all: None


@pytest.fixture(scope="module")
def model():
    return load_model(str(checkpoint_path()))


@pytest.fixture(scope="module")
def study(model, tmp_path_factory):
    with open_study(
        model[0],
        ShapesVQA("calibration", 16),
        processor=model[1],
        name="s",
        sampler={"method": "scan", "first": 6, "floor": 60},
        ranker=RankerSpec.from_mapping("local", {"window": 2, "rows": "last"}),
        store=tmp_path_factory.mktemp("store") / "s.db",
    ) as opened:
        opened.run()
        yield opened


@pytest.fixture(scope="module")
def found(study):
    return contest(study, HELD_OUT, ["feasible:0.5"], TRIALS, silent)


@pytest.fixture(scope="module")
def scores(model):
    evaluator = Evaluator(*model, HELD_OUT, make_metric("exact_match"))

    def of(schedule) -> list[float]:
        return [one.score for one in evaluator.evaluate(Task(schedule, "held-out", IDS))]

    return of


def test_every_family_is_searched_under_the_budget(study, found):
    (one,) = found.rounds
    names = [entry.row.name for entry in one.entries]
    assert names == [*(each.name for each in CONTENDERS), "G-Search, scaled"]
    limit = study.subject.costs(one.entries[0].schedule)[0]
    for entry in one.entries:
        cost, _ = study.subject.costs(entry.schedule)
        # VTW moves by whole layers.
        assert cost <= limit + 0.01 and (cost > limit - 0.03 or entry.row.name == VTW)
        assert entry.schedule.ranker == study.spec.ranker
    tried = {entry.row.name: entry.evaluations for entry in one.entries}
    singles = {VTW: 1, "uniform": 1, "G-Search, scaled": 0}
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
    ahead = {
        entry.row.name for entry in one.entries[1:-1] if sum(scores(entry.schedule)) > sum(ours)
    }
    assert set(one.ahead) == ahead
    sure = {entry.row.name for entry in one.entries[1:] if entry.row.difference.low > 0}
    assert {name for name, yes in one.ahead.items() if yes} == ahead & sure
    assert one.beaten(FASTV) == (one.entries[3].row.difference.high < 0)


def test_g_search_is_shown_beside_and_scaled(study, found, scores):
    assert found.found.schedule == study.best
    assert found.found.row.score == intervals.of_scores(scores(study.best))
    (one,) = found.rounds
    scaled = one.entries[-1].schedule
    family = Layerwise(study.sampler.first)
    point = family.read(study.best.keep)
    assert family.at(point | {"scale": 0.0}, 8).keep <= scaled.keep <= study.best.keep


def test_second_comparison_goes_on_where_the_first_ended(study, found):
    before = [len(study.store.trials(each.spec.name)) for each in study.store.studies()]
    again = contest(study, HELD_OUT, ["feasible:0.5"], TRIALS, silent)
    assert again == found
    assert before == [len(study.store.trials(each.spec.name)) for each in study.store.studies()]


@pytest.mark.usefixtures("found")
def test_held_out_scores_reach_no_history(study):
    names = [summary.spec.name for summary in study.store.studies()]
    assert len(names) == 1 + len(CONTENDERS)
    with open_store(study.store.name) as store:
        for name in names:
            for trial in store.trials(name):
                assert trial.measurement is None or trial.measurement.n <= 16


def test_report_says_what_the_data_say(found, tmp_path):
    write_contest(found, tmp_path / "out")
    text = (tmp_path / "out" / "compare.md").read_text()
    (table,) = tables(text).values()
    assert [row[0] for row in table][1:] == [e.row.name for e in found.rounds[0].entries]
    assert ("at or above every other" in text) == (not found.rounds[0].ahead)
    assert (tmp_path / "out" / "compare.png").read_bytes()[:4] == b"\x89PNG"
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["rounds"][0]["entries"][3]["row"]["name"] == FASTV


def test_budget_out_of_reach_is_named(study):
    with pytest.raises(InputError, match=r"`--budget flops: 0.01`.*which this family can reach"):
        contest(study, HELD_OUT, ["flops:0.01"], TRIALS, silent)
