"""Studies move between SQLite and PostgreSQL, and go on there as if nothing had happened."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from schedsearch.cli import app
from schedsearch.core.trial import TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.execution.loop import Limits, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.store import Evaluation, copying, open_store
from schedsearch.store.store import check_store
from tests.postgres import new_database
from tests.unit.execution.synthetic import (
    CHUNK,
    SEARCH,
    STUDY,
    SUBJECT,
    Recorded,
    evaluate,
    local,
    spec,
    uninterrupted,
)
from tests.unit.store.strategies import (
    CERTIFICATION,
    COMPARISON,
    EVALUATIONS,
    EXHIBIT,
    FULL,
    HALF,
    PICTURE,
    SPEC,
    STINTS,
    complete,
)


@pytest.fixture(params=["to postgresql", "to sqlite"])
def places(request, tmp_path, postgresql):
    """Addresses of a store and of where it is copied to."""
    found = str(tmp_path / "runs.db"), new_database(postgresql)
    return found if request.param == "to postgresql" else found[::-1]


@pytest.fixture
def filled(places):
    """A store with a complete, a running and a waiting trial, a certificate, and two studies."""
    with open_store(places[0]) as store:
        for name in (SPEC.name, "second"):
            store.create_study(replace(SPEC, name=name))
            context = store.context_id(name, "c0ffee", {"dtype": "float32"})
        store.add_scores(context, EVALUATIONS)
        with store.lease(SPEC.name) as lease:
            trial = store.open_trial(lease, {"count": 3}, FULL)
            attempt = store.start_attempt(lease, 0)
            store.close_trial(lease, complete(trial), attempt, workers=STINTS)
            store.open_trial(lease, {}, HALF, samples=7)
            store.stop_attempt(lease, 1, store.start_attempt(lease, 1), "hung")
            store.start_attempt(lease, 1)
            store.open_trial(lease, {"layer": 0.1}, HALF)
        store.begin_certification(SPEC.name, CERTIFICATION.request, ["a1", "b2"])
        store.end_certification(SPEC.name, CERTIFICATION)
        store.put_comparison(SPEC.name, COMPARISON)
        store.add_exhibits(SPEC.name, 1, [(EXHIBIT, PICTURE)])
    return places


def search(url: str, log, trials: int | None = None):
    with open_store(url) as store:
        store.create_study(spec())
        scoring = Scoring(STUDY, SUBJECT, store, local(Recorded(log, evaluate)), CHUNK)
        return run_study(STUDY, SEARCH, scoring, store, limits=Limits(trials=trials))


def copy(places, names=(), **options):
    with open_store(places[0], read_only=True) as here, open_store(places[1]) as there:
        return here.copy_to(there, names, **options)


def test_copied_study_goes_on_to_the_same_trials(places, tmp_path):
    log = tmp_path / "log"
    assert search(places[0], log, trials=4).ending == "trials"
    (copied,) = copy(places)
    assert (copied.study, copied.trials, copied.is_new) == (STUDY, 5, True)  # one waits
    assert search(places[1], log).ending == "finished"
    with open_store(places[1]) as store:
        assert store.trials(STUDY) == uninterrupted()
    lines = [line.split(";", 2)[2] for line in log.read_text().splitlines()]
    assert len(lines) == len(set(lines))
    for url in places:
        assert check_store(url).problems == check_store(url).notes == ()


def test_copy_has_all_that_was_found(filled, monkeypatch):
    monkeypatch.setattr(copying, "_PAGE", 300)
    told = []
    copied = copy(filled, tell=lambda *so_far: told.append(so_far))
    assert [(one.study, one.trials, one.is_new) for one in copied] == [
        (SPEC.name, 3, True),
        ("second", 0, True),
    ]
    assert [one.evaluations for one in copied] == [len(EVALUATIONS), 0]
    assert told[0] == (SPEC.name, 0, len(EVALUATIONS))
    assert told[-1] == ("second", len(EVALUATIONS), len(EVALUATIONS))
    assert check_store(filled[1]) == check_store(filled[0])
    with open_store(filled[0]) as here, open_store(filled[1]) as there:
        for read in (
            lambda store: store.trials(SPEC.name),
            lambda store: [store.attempts(SPEC.name, number) for number in range(3)],
            lambda store: store.certifications(SPEC.name),
            lambda store: store.comparison(SPEC.name),
            lambda store: store.exhibits(SPEC.name, 1),
            lambda store: store.exhibit_pictures(SPEC.name, 1),
            lambda store: store.contexts(SPEC.name),
            lambda store: store.effort(SPEC.name),
            lambda store: [(one.spec, one.version, one.created) for one in store.studies()],
        ):
            assert read(there) == read(here)
        context = there.context_id(SPEC.name, "c0ffee", {})
        assert there.scores(context, EVALUATIONS) == EVALUATIONS
        assert there.trials(SPEC.name)[1].state is TrialState.RUNNING
        assert there.attempts(SPEC.name, 0)[0].workers == STINTS
        with there.lease(SPEC.name) as lease:
            assert there.start_attempt(lease, 1) == 3


def test_copy_that_was_pruned_meanwhile_is_refused_and_can_be_made_again(filled, monkeypatch):
    monkeypatch.setattr(copying, "_PAGE", len(EVALUATIONS) // 3)

    def prune(_study, done, _all):
        if 0 < done < len(EVALUATIONS):
            with open_store(filled[1]) as there:
                there.prune()

    with pytest.raises(RunError, match=f"of study `{SPEC.name}` were pruned while .*copy it again"):
        copy(filled, tell=prune)
    with open_store(filled[1]) as there:
        assert there.studies() == []
    copy(filled)
    assert check_store(filled[1]) == check_store(filled[0])


def test_repeated_copy_changes_nothing(filled):
    copy(filled)
    before = check_store(filled[1])
    assert [(one.evaluations, one.is_new) for one in copy(filled)] == [(0, False)] * 2
    assert check_store(filled[1]) == before


def test_comparison_that_was_made_later_replaces_that_of_the_copy(filled):
    copy(filled)
    new = replace(COMPARISON, data="other")
    with open_store(filled[0]) as here:
        here.put_comparison(SPEC.name, new)
    for places in (filled, filled[::-1], filled):
        copy(places)
    for place in filled:
        with open_store(place) as store:
            assert store.comparison(SPEC.name) == new


def test_exhibits_that_were_recorded_later_are_copied_to_the_same_study(filled):
    copy(filled)
    new = replace(EXHIBIT, sample="b2", place=9)
    with open_store(filled[0]) as here:
        here.add_exhibits(SPEC.name, 1, [(new, PICTURE)])
    assert [one.is_new for one in copy(filled)] == [False, False]
    with open_store(filled[1]) as there:
        assert there.exhibits(SPEC.name, 1) == [EXHIBIT, new]


def test_only_the_studies_that_are_named_are_copied(filled):
    assert [one.study for one in copy(filled, ["second"])] == ["second"]
    with open_store(filled[1]) as there:
        assert [one.spec.name for one in there.studies()] == ["second"]
    with pytest.raises(InputError, match="no study `third`"):
        copy(filled, ["third"])


def test_other_study_of_the_same_name_is_refused_before_anything_is_copied(filled):
    with open_store(filled[1]) as there:
        there.create_study(replace(SPEC, name="second"))
    with pytest.raises(InputError, match="another study `second`"):
        copy(filled)
    with open_store(filled[1]) as there:
        assert [one.spec.name for one in there.studies()] == ["second"]
        assert there.check().rows["evaluation"] == 0


def test_study_that_has_gone_on_since_is_refused(filled):
    copy(filled)
    with open_store(filled[0]) as here:
        here.enqueue("second", FULL)
    with pytest.raises(InputError, match="another study `second` .0 trials.*; here 1 trials"):
        copy(filled)


@pytest.mark.parametrize("where", [0, 1])
def test_study_that_is_being_searched_is_refused(filled, where):
    copy(filled)
    with (
        open_store(filled[where]) as store,
        store.lease(SPEC.name),
        pytest.raises(RunError, match=f"study `{SPEC.name}` is being searched"),
    ):
        copy(filled)


def test_study_that_was_searched_while_it_was_copied_is_not_there(filled):
    def disturb(_name, done, _total) -> None:
        if done:
            with open_store(filled[0]) as here:
                here.enqueue(SPEC.name, replace(HALF, keep=(1.0, 1.0, 1.0, 0.5)))

    with pytest.raises(RunError, match="was searched while it was copied; copy it again"):
        copy(filled, tell=disturb)
    with open_store(filled[1]) as there:
        assert there.studies() == []


def test_copy_that_was_interrupted_is_gone_on_with(filled, monkeypatch):
    monkeypatch.setattr(copying, "_PAGE", 300)

    def end(_name, done, _total) -> None:
        if done >= 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(filled, tell=end)
    with open_store(filled[1]) as there:
        assert there.studies() == []
    assert copy(filled)[0].evaluations == len(EVALUATIONS) - 900
    assert check_store(filled[1]) == check_store(filled[0])


def test_score_that_the_other_store_has_stays(filled):
    key = next(iter(EVALUATIONS))
    with open_store(filled[1]) as there:
        there.create_study(replace(SPEC, name="its own"))
        context = there.context_id("its own", "c0ffee", {"dtype": "float32"})
        there.add_scores(context, {key: Evaluation(99.0)})
    assert copy(filled)[0].evaluations == len(EVALUATIONS) - 1
    with open_store(filled[1]) as there:
        assert there.scores(context, [key]) == {key: Evaluation(99.0)}


def test_command_copies_and_says_what(filled):
    done = CliRunner().invoke(app, ["db", "copy", *filled, "--study", "second", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == [
        {"study": "second", "trials": 0, "evaluations": len(EVALUATIONS), "is_new": True}
    ]
    done = CliRunner().invoke(app, ["db", "copy", *filled])
    assert done.exit_code == 0
    assert "3" in done.stdout
    assert "0, as they were" in done.stdout


def test_no_store_is_made_for_a_study_that_is_not_there(tmp_path):
    open_store(tmp_path / "runs.db").close()
    arguments = ["db", "copy", str(tmp_path / "runs.db"), str(tmp_path / "new.db")]
    assert CliRunner().invoke(app, [*arguments, "--study", "other"]).exit_code != 0
    assert not (tmp_path / "new.db").exists()
