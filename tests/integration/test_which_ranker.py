"""A study of several rankers finds one, searches with it, and goes on where it was stopped."""

from dataclasses import replace
from pathlib import Path

import pytest

from schedsearch import InputError, RankerSpec
from schedsearch.app.open import open_study
from schedsearch.app.report_text import render
from schedsearch.app.study import Study
from schedsearch.app.study_view import StudyView
from schedsearch.cli.render_studies import study as show
from schedsearch.core.trial import Trial, TrialState
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.worker import ModelWorker
from schedsearch.store.store import open_store
from tests.engine.embedded import embedded

RANKERS = ("random", RankerSpec.from_mapping("local", {"rows": "last"}), "diverse")


def opened(store: Path, ranker: object = RANKERS, **settings: object) -> Study:
    """A study that searches the last two layers of the embedded model."""
    model, processor = embedded()
    sampler = {"tolerance": 0.2, "first": 6, "floor": 56, **settings}
    options = {"processor": processor, "name": "several", "store": store}
    return open_study(
        model, ShapesVQA("calibration", 24), sampler=sampler, ranker=ranker, **options
    )


def known(trials: list[Trial]) -> list[Trial]:
    """Trials from 0 on, without what a run says of itself."""
    return [replace(trial, number=place) for place, trial in enumerate(trials)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("whole") / "s.db") as study:
        study.run()
        yield study


def test_rankers_are_compared_and_the_search_is_that_of_the_best(whole, tmp_path):
    rungs = whole.rungs
    assert [len(rung.drops) for rung in rungs] == [3, 2]
    assert [rung.samples for rung in rungs] == [8, 16]
    rounds = [trial for trial in whole.trials if "round" in trial.params]
    assert len(rounds) == 15
    assert {trial.state for trial in rounds} == {TrialState.SCREENED}
    assert whole.finished
    assert whole.best.ranker == whole.ranker

    with opened(tmp_path / "alone.db", whole.ranker) as alone:
        alone.run()
        assert alone.rungs == []
        assert known(whole.trials[15:]) == alone.trials


def test_what_is_expected_of_a_round_is_what_its_samples_lost(whole):
    last = whole.rungs[-1]
    (ranker,) = last.better_half()
    # 16 samples besides those that can gain are asked of 24.
    trials = [one for one in whole.trials if one.params.get("round") == 2]
    own = [one for one in trials if one.schedule.ranker == ranker]
    assert last.drops[ranker] == pytest.approx(sum(one.expected for one in own) / 3)
    for trial in own:
        full = {one.sample_id: one.score for one in whole.scoring.scores(whole.subject.full)}
        order = sorted(whole.subject.ids, key=lambda name: full[name])  # stable
        gains = sum(score < 1 for score in full.values())
        assert trial.read == gains + 16
        scores = whole.scoring.scores(trial.schedule, ids=order[: trial.read])
        drops = [full[one.sample_id] - one.score for one in scores]
        rest = (24 - gains) * sum(drops[gains:]) / 16
        assert trial.expected == pytest.approx((sum(drops[:gains]) + rest) / 24)


def test_interrupted_study_ends_with_the_same_trials(whole, tmp_path):
    place = tmp_path / "s.db"
    while True:
        with opened(place) as study:
            if study.run(n_trials=7).ending == "finished":
                assert study.trials == whole.trials
                return


def test_rankers_are_part_of_what_a_study_is(whole, tmp_path):
    assert whole.spec.rankers == (RankerSpec("random"), *RANKERS[1:2], RankerSpec("diverse"))
    place = tmp_path / "s.db"
    opened(place).store.close()
    with pytest.raises(InputError, match="rankers"):
        opened(place, ["random", "diverse"])


def test_report_and_show_have_every_ranker(whole, capsys):
    text = render(whole, None)
    assert "### Which ranker" in text
    for ranker in ("random", "local (rows = last)", "diverse"):
        assert f"| {ranker} " in text
    assert f"| ranker | {whole.ranker.words} |" in text
    show(whole, False)
    assert "round 2, 16" in capsys.readouterr().out


def test_study_is_read_without_its_model(whole):
    with open_store(whole.store.name, read_only=True) as store:
        view = StudyView(store, "several").snapshot()
        assert view.finished
        assert view.best == whole.best
        assert view.layers() == whole.layers()
        assert view.nesting == whole.nesting


def test_study_that_looks_for_its_ranker_yet_has_no_result(tmp_path):
    with opened(tmp_path / "s.db") as study:
        study.run(n_trials=3)
        assert not study.finished
        assert study.ranker == RankerSpec("random")
        with pytest.raises(InputError, match="has no result yet"):
            _ = study.best


def test_ranker_that_cannot_serve_the_search_is_refused_at_once(tmp_path):
    place = tmp_path / "s.db"
    with pytest.raises(InputError, match="`first` must be at least 1 with ranker local"):
        opened(place, ["diverse", "local"], first=0)
    assert not place.exists()
    opened(place, "auto", first=0).store.close()


def test_each_ranker_is_searched_by_single_cuts_of_its_own(tmp_path, monkeypatch):
    model, processor = embedded()
    settings = {"sampler": "additive", "max_drop": 0.5, "first": 6, "trials": 2}
    settings |= {"samples": 4, "shares": [0.5, 0.125]}

    def searched(*ranker: str) -> Study:
        options = {"processor": processor, "name": "-".join(ranker), "store": tmp_path / "s.db"}
        calibration = ShapesVQA("calibration", 16)
        return open_study(model, calibration, sampler=settings, ranker=ranker, **options)

    rankers, alone, spent = ("last", "diverse"), [], 0.0
    for ranker in rankers:
        with searched(ranker) as study:
            alone.append(study.asking.cuts.losses)
            spent += study.spec.spent
    assert alone[0] != alone[1]
    with searched(*rankers) as study:
        assert [one.cuts.losses for one in study.asking.searches] == alone
        assert study.effort.spent == pytest.approx(spent)
    monkeypatch.delattr(ModelWorker, "means")
    with searched(*rankers) as study:
        study.run()
        assert study.finished
        assert study.best.ranker == study.ranker
