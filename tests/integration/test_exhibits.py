"""Exhibits of a real search on the embedded model: which samples, what is stored, what goes on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schedsearch import InputError, RunError, open_study
from schedsearch.app import exhibits
from schedsearch.app.bootstrap import silent
from schedsearch.app.exhibits import Recorded, exhibit_last, telling
from schedsearch.app.study import Study
from schedsearch.core.schedule import Schedule
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.store import Evaluation
from tests.engine.embedded import REDUCED, embedded

SEARCH = {"tolerance": 0.2, "first": 5, "floor": 24}


def opened(folder: Path, n: int = 20, **options) -> Study:
    model, processor = embedded()
    settings = {"sampler": SEARCH, "store": folder / "s.db", "name": "s", **options}
    return open_study(model, ShapesVQA("calibration", n), processor=processor, **settings)


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Iterator[Study]:
    with opened(tmp_path_factory.mktemp("exhibits")) as study:
        study.enqueue(REDUCED)
        study.run()
        yield study


def of(study: Study, trial: int):
    return study.store.exhibits("s", trial)


def scores(study: Study, schedule: Schedule) -> dict[str, float]:
    return {one.sample_id: one.score for one in study.scoring.scores(schedule)}


def test_samples_whose_answers_changed_come_first_with_the_scores_of_the_trial(searched):
    number = next(one.number for one in searched.trials if one.schedule.keep == REDUCED.keep)
    own, full = scores(searched, REDUCED), scores(searched, searched.subject.full)
    changed = [name for name in searched.subject.ids if own[name] != full[name]]
    assert 2 <= len(changed) < 12
    found = searched.exhibit(number, samples=len(changed))
    assert found == Recorded(number, len(changed), len(changed), len(changed))
    stored = of(searched, number)
    assert [one.name for one in stored] == changed
    assert all(one.changed and one.split == "calibration" for one in stored)
    assert [(one.score, one.full_score) for one in stored] == [(own[n], full[n]) for n in changed]
    assert all((one.answer in one.references) == (one.score == 1) for one in stored)
    assert searched.store.exhibit_pictures("s", number).keys() == {one.sample for one in stored}

    more = searched.exhibit(number, samples=len(changed) + 3)
    assert (more.exhibits, more.changed, more.recorded) == (len(changed) + 3, len(changed), 3)
    assert [one.name for one in of(searched, number)][: len(changed)] == changed


def test_what_is_stored_is_recorded_again_only_if_asked(searched):
    number = searched.exhibit(samples=5).trial
    assert number == searched.best_trial.number
    assert searched.exhibit(samples=5).recorded == 0
    assert searched.exhibit(samples=3, again=True) == Recorded(
        number, 5, sum(one.changed for one in of(searched, number)), 3
    )
    assert searched.best.counts(64) == of(searched, number)[0].counts


def test_interrupted_recording_goes_on_where_it_was(tmp_path, monkeypatch):
    asked, record = [], Evaluator.exhibits

    def failing(self, schedule, samples):
        asked.append([one.id for one in samples])
        if len(asked) == 2:
            raise RunError("the device is gone")
        return record(self, schedule, samples)

    monkeypatch.setattr(Evaluator, "exhibits", failing)
    with opened(tmp_path, n=12) as study:
        study.run(n_trials=1)
        with pytest.raises(RunError, match="the device is gone"):
            study.exhibit(0, samples=10)
        assert len(of(study, 0)) == 4
        assert study.exhibit(0, samples=10).recorded == 6
    assert asked[1:3] == [asked[1], asked[1]]
    assert len({*sum(asked, [])}) == 10


def test_held_out_samples_are_shown_and_those_that_certify_never(searched):
    number = searched.best_trial.number
    before = len(of(searched, number))
    found = searched.exhibit(samples=2, held_out=ShapesVQA("held-out", 4))
    assert (found.exhibits, found.recorded) == (before + 2, 2)
    assert sum(one.split == "held-out" for one in of(searched, number)) == 2
    with pytest.raises(InputError, match="samples of the split certify prove a schedule"):
        searched.exhibit(held_out=ShapesVQA("certify", 4))
    assert len(of(searched, number)) == before + 2


def test_trial_that_is_not_there_is_refused(searched, tmp_path):
    with pytest.raises(InputError, match="study `s` has no trial 99; `schedsearch show`"):
        searched.exhibit(99)
    with opened(tmp_path) as study, pytest.raises(InputError, match="has no result yet"):
        study.exhibit()


def test_last_step_of_a_search_takes_nothing_from_its_result(searched, monkeypatch, caplog):
    calls = []

    def failing(*_args, **named):
        calls.append(named["samples"])
        raise RunError("no room")

    monkeypatch.setattr(exhibits, "exhibit", failing)
    exhibit_last(searched, 0, silent)
    assert calls == []
    exhibit_last(searched, 8, silent)
    assert calls == [8]
    assert "the search is finished, but no exhibits were recorded: no room" in caplog.text
    monkeypatch.setattr(exhibits, "exhibit", lambda *_args, **_named: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a defect is none of the things that go wrong
        exhibit_last(searched, 8, silent)


def test_telling_samples_are_those_of_the_greatest_change_and_each_but_once(searched):
    subject = searched.subject
    ids = subject.ids
    full = {name: Evaluation(0.5, "a") for name in ids[:-1]}
    own = dict(full)
    own[ids[6]] = Evaluation(1.0, "b")
    own[ids[4]] = Evaluation(0.2, "a")
    own[ids[9]] = Evaluation(0.5, "c")
    del own[ids[0]]
    rest = [name for at, name in enumerate(ids[:-1]) if at not in (0, 4, 6, 9)]
    order = [ids[6], ids[4], ids[9], *rest, ids[0], ids[-1]]
    assert telling(subject, full, own) == order
    keys = (subject.keys[3], *subject.keys[1:])  # the first shows what the fourth does
    twice = replace(subject, keys=keys)
    assert telling(twice, full, own) == [name for name in order if name != ids[3]]
