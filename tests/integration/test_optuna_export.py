"""Studies in databases of Optuna, read back by Optuna itself."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import TrialState as OptunaState
from sqlalchemy import make_url

from schedsearch.app.optuna_database import OptunaStudy, database_url, write_study
from schedsearch.app.optuna_export import export_to_optuna
from schedsearch.app.samplers import make_sampler
from schedsearch.app.study_view import StudyView
from schedsearch.cli import main
from schedsearch.core.pareto import pareto
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.execution.loop import Limits, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.acceptance import Acceptance
from schedsearch.samplers.auto_settings import AutoSettings
from schedsearch.samplers.family_settings import FrontierSettings, RandomSettings
from schedsearch.samplers.greedy import GSearch
from schedsearch.store import open_store
from tests.integration.searched import searched_store
from tests.unit.execution.synthetic import (
    CHUNK,
    FULL,
    STUDY,
    SUBJECT,
    evaluate,
    local,
    new_place,
    spec,
)

RANDOM = RandomSettings(sampler="random", budget={"feasible": 0.6}, first=2, trials=12)
FRONTIER = FrontierSettings(sampler="frontier", max_drop=0.1, first=2, trials=10)
HALF = Schedule((1.0, 1.0, 0.5, 0.5, 0.5, 0.5))


@pytest.fixture
def store(tmp_path):
    """A store with a finished G-Search, and one that has not finished."""
    path = tmp_path / "store.db"
    path.write_bytes(searched_store())
    with open_store(path, read_only=True) as opened:
        yield opened


@pytest.fixture
def database(tmp_path):
    return tmp_path / "study.optuna.db"


@pytest.fixture
def place(tmp_path):
    return new_place(tmp_path)


def load(target, study=STUDY):
    """What Optuna reads."""
    url = database_url(target).render_as_string(hide_password=False)
    return optuna.load_study(study_name=study, storage=RDBStorage(url))


def search(store, settings, trials, before=()):
    """Search with settings for so many trials; schedules of a person come first."""
    described = replace(spec(), search=settings.plain())
    store.create_study(described)
    for schedule in before:
        store.enqueue(STUDY, schedule)
    scoring = Scoring(STUDY, SUBJECT, store, local(evaluate), CHUNK)
    run_study(STUDY, make_sampler(described), scoring, store, limits=Limits(trials))
    return StudyView(store, STUDY)


def test_every_trial_is_read_back_as_it_was(store, database):
    view = StudyView(store, STUDY)
    export_to_optuna(view, database)
    found = load(database)
    assert [one.number for one in found.trials] == [one.number for one in view.trials]
    for one, trial in zip(found.trials, view.trials, strict=True):
        measured, attempt = trial.measurement, store.attempts(STUDY, trial.number)[-1]
        assert one.state == OptunaState.COMPLETE
        assert one.values == [measured.drop, measured.flops_ratio]
        assert one.params == trial.params
        assert one.intermediate_values == {measured.n: measured.drop}
        assert one.user_attrs["keep"] == list(trial.schedule.keep)
        assert one.user_attrs["drop_standard_error"] == measured.drop_standard_error
        assert one.user_attrs["kv_ratio"] == measured.kv_ratio
        assert one.user_attrs["ranker"] == "last"
        assert one.datetime_start.astimezone(UTC) == attempt.started
        assert one.datetime_complete.astimezone(UTC) == attempt.ended
    assert found.metric_names == ["drop", "FLOPs ratio"]
    assert found.user_attrs["spec_digest"] == view.spec.digest()
    assert found.user_attrs["tolerance"] == view.spec.search["tolerance"]


def test_tolerance_is_the_constraint_of_g_search(store, database):
    view = StudyView(store, STUDY)
    export_to_optuna(view, database)
    sampler = view.sampler
    assert isinstance(sampler, GSearch)
    rule = Acceptance(sampler.acceptance, sampler.tolerance, sampler.noise)
    accepted = [one.number for one in view.trials if rule.accepts(one.measurement)]
    found = load(database)
    feasible = [one.number for one in found.trials if one.constraints["tolerance"] <= 0]
    assert feasible == accepted
    assert 0 < len(accepted) < len(view.trials)
    for one in found.trials:  # where optuna-dashboard looks
        assert one.system_attrs["constraints"] == [one.constraints["tolerance"]]
    front = pareto([view.trials[number] for number in accepted])
    assert {one.number for one in found.best_trials} == {one.number for one in front}
    assert view.best_trial.number in feasible


def test_best_trials_of_a_frontier_are_its_undominated_trials(place, database):
    with place.store() as store:
        view = search(store, FRONTIER, 10)
        export_to_optuna(view, database)
        front = [(drop, cost) for cost, drop in view.frontier.costs]
        found = load(database)
        assert {tuple(one.values) for one in found.best_trials} == set(front)
        assert len(front) > 1
        space = {one.name: one for one in view.sampler.space.parameters}
        assert space.keys() == found.trials[0].params.keys()
        for name, kind in found.trials[0].distributions.items():
            parameter = space[name]
            expected = FloatDistribution(parameter.low, parameter.high, log=parameter.log)
            assert kind == expected


def test_best_trial_of_a_budgeted_search_is_its_result_not_what_costs_more(place, database):
    with place.store() as store:
        view = search(store, RANDOM, None, before=[FULL])
        export_to_optuna(view, database)
        found = load(database)
        assert found.metric_names == ["drop"]
        assert found.trials[0].params == {}
        assert found.trials[0].constraints["budget"] > 0
        assert found.best_trial.number == view.best_trial.number
        assert found.best_value == view.best_trial.measurement.drop


def test_states_are_those_of_optuna(place, database):
    measured = Measurement(0.9, 0.01, 10, 0.8, 0.8, 0.05, 0.01)
    no_drop = replace(measured, drop=None, drop_standard_error=None)
    outcomes = [
        (TrialState.COMPLETE, {"measurement": measured, "read": 10}),
        (TrialState.COMPLETE, {"measurement": no_drop}),
        (TrialState.SCREENED, {"reason": "5 samples", "samples": 5, "read": 5, "expected": 0.1}),
        (TrialState.PRUNED, {"reason": "loses at least 0.4", "read": 7}),
        (TrialState.FAIL, {"reason": "out of memory"}),
    ]
    with place.store() as store:
        store.create_study(replace(spec(), search=RANDOM.plain()))
        with store.lease(STUDY) as lease:
            for number, (state, values) in enumerate(outcomes):
                ranker = "last" if number else "text"
                params = {"count": number, "ranker": ranker, "mean": number / 2}
                opened = store.open_trial(lease, params, HALF, values.get("samples"))
                attempt = store.start_attempt(lease, number)
                closed = Trial(number, params, opened.schedule, state, **values)
                assert store.close_trial(lease, closed, attempt)
            store.open_trial(lease, {}, HALF)
            store.start_attempt(lease, len(outcomes))
            store.open_trial(lease, {}, HALF)
        export_to_optuna(StudyView(store, STUDY), database)
    found = load(database).trials
    assert [one.state.name for one in found] == (
        ["COMPLETE", "PRUNED", "PRUNED", "PRUNED", "FAIL", "RUNNING", "WAITING"]
    )
    assert [one.intermediate_values for one in found] == [{10: 0.05}, {}, {5: 0.1}, {}, {}, {}, {}]
    assert [one.values for one in found] == [[0.05], *[None] * 6]
    assert found[2].user_attrs["state"] == "SCREENED"
    assert found[3].user_attrs["reason"] == "loses at least 0.4"
    assert found[5].datetime_start is not None
    assert found[5].datetime_complete is None
    assert found[6].datetime_start is None
    assert found[4].distributions == {
        "count": IntDistribution(0, 4),
        "ranker": CategoricalDistribution(["last", "text"]),
        "mean": FloatDistribution(0.0, 2.0),
    }


def test_factors_of_auto_have_the_space_that_they_are_taken_from(place, database):
    settings = AutoSettings(sampler="auto", tolerance=0.1, guess=[], screens=[])
    with place.store() as store:
        store.create_study(replace(spec(), search=settings.plain()))
        with store.lease(STUDY) as lease:
            store.open_trial(lease, {"scale_2": 1.0, "scale_3": 0.5}, HALF)
        export_to_optuna(StudyView(store, STUDY), database)
    kinds = load(database).trials[0].distributions
    assert kinds == dict.fromkeys(("scale_2", "scale_3"), FloatDistribution(0.5, 2.0, log=True))


def test_rows_are_those_that_optuna_writes(store, database, tmp_path):
    export_to_optuna(StudyView(store, STUDY), database)
    ours = load(database)
    other = RDBStorage(f"sqlite:///{tmp_path / 'other.db'}")
    theirs = optuna.create_study(storage=other, study_name=STUDY, directions=ours.directions)
    theirs.add_trials(ours.trials)
    assert theirs.trials == ours.trials
    for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values"):
        assert rows(tmp_path / "other.db", table) == rows(database, table)


def rows(path, table):
    connection = sqlite3.connect(path)
    try:
        # Keys of rows depend on the order in which they were added.
        found = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
    finally:
        connection.close()
    return sorted(row if table == "trials" else row[1:] for row in found)


def test_optuna_goes_on_with_what_was_exported(place, database):
    with place.store() as store:
        export_to_optuna(search(store, RANDOM, None), database)
    found = load(database)
    asked = found.ask(found.trials[0].distributions)
    found.tell(asked, 0.5)
    assert len(found.trials) == 13


def test_study_in_the_database_is_replaced_only_by_force(store, database):
    export_to_optuna(StudyView(store, STUDY), database)
    export_to_optuna(StudyView(store, "other"), database)
    load(database).set_user_attr("note", "mine")
    with pytest.raises(
        InputError, match="has a study `synthetic` already; replace it with --force"
    ):
        export_to_optuna(StudyView(store, STUDY), database)
    assert load(database).user_attrs["note"] == "mine"
    export_to_optuna(StudyView(store, STUDY), database, force=True)
    assert "note" not in load(database).user_attrs
    assert len(load(database).trials) == len(store.trials(STUDY))
    assert len(load(database, "other").trials) == len(store.trials("other"))


def test_interrupted_export_changes_nothing(store, database):
    view = StudyView(store, STUDY)

    def interrupt(_done, _all):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_to_optuna(view, database, on_progress=interrupt)
    assert optuna.get_all_study_names(RDBStorage(f"sqlite:///{database}")) == []
    export_to_optuna(view, database)
    before = load(database).trials
    with pytest.raises(KeyboardInterrupt):
        export_to_optuna(view, database, force=True, on_progress=interrupt)
    assert load(database).trials == before


@pytest.mark.parametrize("force", [False, True])
def test_store_and_databases_of_others_are_refused(store, tmp_path, force):
    (tmp_path / "link.db").symlink_to("store.db")
    (tmp_path / "text").write_text("irreplaceable")
    connection = sqlite3.connect(tmp_path / "others.db")
    connection.execute("CREATE TABLE studies (name TEXT)")
    connection.close()
    files = {name: (tmp_path / name).read_bytes() for name in ("store.db", "others.db", "text")}
    for target, message in {
        tmp_path / "store.db": "is a store of schedsearch",
        f"sqlite:///{tmp_path / 'store.db'}": "is a store of schedsearch",
        tmp_path / "link.db": "is a store of schedsearch",
        tmp_path / "others.db": "is no database of Optuna",
        tmp_path / "text": "file is not a database",
        tmp_path: "cannot be opened",
        tmp_path / "missing" / "o.db": "create",
        "sqlite://": "must outlast the process",
        ":memory:": "must outlast the process",
        "": "must outlast the process",
        "a://b://c": "address",
        "what://user:secret@host/name": "there is no driver",
        "postgresql://user:secret@localhost:1/name": "cannot be opened",
    }.items():
        with pytest.raises(InputError, match=message) as refused:
            export_to_optuna(StudyView(store, STUDY), target, force=force)
        assert "secret" not in str(refused.value)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_database_that_takes_no_rows_is_left_as_it_was(store, database):
    export_to_optuna(StudyView(store, "other"), database)
    holder = sqlite3.connect(database, isolation_level=None)
    abort = "BEGIN SELECT RAISE(ABORT, 'full'); END"
    holder.execute(f"CREATE TRIGGER full BEFORE INSERT ON trial_values {abort}")
    holder.close()
    with pytest.raises(RunError, match="cannot be written: full; export again"):
        export_to_optuna(StudyView(store, STUDY), database)
    assert optuna.get_all_study_names(RDBStorage(f"sqlite:///{database}")) == ["other"]


def test_progress_ends_with_all_trials(database):
    trials = []
    for number in range(1200):
        one = optuna.trial.create_trial(state=OptunaState.FAIL, user_attrs={"number": number})
        one.number = number
        trials.append(one)
    told = []
    study = OptunaStudy("many", ("drop",), {"model": "none"}, trials)
    write_study(database_url(database), study, False, lambda *done: told.append(done))
    assert told == [(500, 1200), (1000, 1200), (1200, 1200)]
    assert [one.user_attrs["number"] for one in load(database, "many").trials] == list(range(1200))


def test_postgresql_takes_a_study_too(store, postgresql_server):
    postgresql_server.execute("CREATE DATABASE dashboard")
    url = make_url(postgresql_server.url).set(database="dashboard", drivername="postgresql")
    target = url.render_as_string(hide_password=False)
    view = StudyView(store, STUDY)
    export_to_optuna(view, target)
    with pytest.raises(InputError, match="has a study `synthetic` already"):
        export_to_optuna(view, target)
    export_to_optuna(view, target, force=True)
    found = load(target)
    assert [one.params for one in found.trials] == [dict(one.params) for one in view.trials]
    assert view.best_trial.number in {one.number for one in found.best_trials}


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["schedsearch", "export", STUDY, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
        raise SystemExit(0)
    return ended.value.code or 0, capsys.readouterr()


def test_command_says_what_it_has_written(store, database, monkeypatch, capsys):
    options = ("--store", store.name, "--optuna", database)
    code, said = command(monkeypatch, capsys, *options, "--json")
    trials = len(store.trials(STUDY))
    assert code == 0
    assert json.loads(said.out) == {"optuna": str(database), "study": STUDY, "trials": trials}
    assert command(monkeypatch, capsys, *options)[0] == 2
    code, said = command(monkeypatch, capsys, *options, "--force")
    assert code == 0
    assert f"{trials} trials in {database}, study {STUDY}" in said.out


@pytest.mark.parametrize("other", [("schedule.json",), ("--budget", 0.5), ("--max-drop", 0)])
def test_command_writes_a_study_or_a_schedule(store, database, monkeypatch, capsys, other):
    options = ("--store", store.name, "--optuna", database)
    code, said = command(monkeypatch, capsys, *options, *other)
    assert code == 2
    assert "--optuna writes the whole study, and no schedule" in said.err
    assert not database.exists()
