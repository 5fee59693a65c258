"""What a store promises, on every database it runs on; another one joins with a line in `url`."""

import dataclasses
import itertools
import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, insert, text
from sqlalchemy.exc import IntegrityError

from schedsearch.core.facts import Facts
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import RankerSpec, Schedule, Target
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.store import Evaluation, Store, exhibits, open_store, schema, upgrade
from schedsearch.store import lease as leases
from schedsearch.store.address import url_of
from schedsearch.store.codec import measurement_to_columns
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.process import Process
from schedsearch.store.tables import VERSION_TABLE, Base, ScheduleRow, StudyRow, TrialRow
from tests.postgres import new_database
from tests.unit.core.strategies import targeted_schedules
from tests.unit.store.strategies import (
    CERTIFICATION,
    COMPARISON,
    EXHIBIT,
    FULL,
    HALF,
    MEASURED,
    PICTURE,
    PROGRESS,
    SPEC,
    STINTS,
    complete,
    failed,
    measurements,
    params,
    specs,
)

STUDY = SPEC.name
LAST = {"name": "last", "params": {}}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVALUATIONS = {
    (f"sample-{sample}", counts): Evaluation(sample / 7, None if sample % 2 else f"answer {sample}")
    for sample in range(12)
    for counts in ((9, 9, 4, 2), (25, 25, 13, 7))
}
REQUEST = CERTIFICATION.request
few_examples = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        opened.create_study(SPEC)
        yield opened


@pytest.fixture
def context(store):
    return store.context_id(STUDY, "c0ffee", {"dtype": "float32"})


@pytest.fixture
def statements():
    """SQL statements that any engine executes, as they come."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def open_running(store: Store, lease: leases.Lease, schedule: Schedule = HALF) -> tuple[Trial, int]:
    trial = store.open_trial(lease, {}, schedule)
    return trial, store.start_attempt(lease, trial.number)


@pytest.mark.usefixtures("store")
def test_tables_are_those_that_the_code_describes(url):
    engine = create_engine(url_of(url))
    with engine.connect() as connection:
        migration = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(migration, Base.metadata) == []
    engine.dispose()


def test_database_with_foreign_tables_is_refused(url):
    engine = create_engine(url_of(url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE photos (id INTEGER)"))
    engine.dispose()
    with pytest.raises(InputError, match="another program's database .it holds `photos`"):
        open_store(url)


SPEC_0002 = {
    "name": STUDY,
    "model": "m",
    "calibration": "c",
    "calibration_digest": "c0ffee",
    "metric": "exact_match",
    "sampler": {"name": "g-search", "params": {"tolerance": 0.01, "layers": 4, "n_max": 9}},
}


def test_trials_on_part_of_the_samples_lose_their_score_when_a_store_is_upgraded(url):
    database = schema._opened(url_of(url), "create")
    with database.writing() as connection:
        config = schema._alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(
            insert(StudyRow).values(
                name=STUDY, spec=SPEC_0002, version="0", created=NOW, lease_token=0
            )
        )
        connection.execute(
            insert(ScheduleRow).values(digest="c0ffee", keep=list(HALF.keep), ranker=LAST)
        )
        measured = measurement_to_columns(MEASURED)
        row = {"study_id": 1, "schedule_id": 1, "params": {}, "attempt": 1, "created": NOW}
        rows = (
            {"state": "COMPLETE", "reason": "", "samples": None, "read": 80, **measured},
            {"state": "COMPLETE", "reason": "", "samples": 7, "read": 7, **measured},
            {"state": "PRUNED", "reason": "rejected", "samples": 7, "read": 3},
        )
        for number, own in enumerate(rows):
            connection.execute(insert(TrialRow).values(number=number, **row, **own))
    database.close()

    upgrade(url)

    with open_store(url) as store:
        whole, part, pruned = store.trials(STUDY)
        assert (whole.state, whole.measurement) == (TrialState.COMPLETE, MEASURED)
        assert (part.state, part.measurement) == (TrialState.SCREENED, None)
        assert (part.reason, part.samples, part.read) == ("not rejected by 7 samples", 7, 7)
        assert (pruned.state, pruned.reason, pruned.samples) == (TrialState.PRUNED, "rejected", 7)
    test_tables_are_those_that_the_code_describes(url)


# Studies


def test_study_is_created_once_and_then_continued(url):
    with open_store(url) as store:
        assert store.create_study(SPEC) is True
    with open_store(url) as store:
        assert store.create_study(SPEC) is False
        assert store.spec(STUDY) == SPEC


@given(specs)
@few_examples
def test_specification_comes_back(store, spec):
    fresh = dataclasses.replace(spec, name=f"{spec.name} {len(store.studies())}")
    assert store.create_study(fresh)
    assert store.spec(fresh.name) == fresh
    assert not store.create_study(fresh)


def test_changed_specification_is_refused_with_every_difference(store):
    search = {"sampler": "g-search", "tolerance": 0.02, "method": "scan"}
    with pytest.raises(InputError) as refused:
        store.create_study(dataclasses.replace(SPEC, search=search, seed=2))
    assert str(refused.value).splitlines() == [
        "study `demo` exists with another specification (stored -> given):",
        "  search.acceptance: 'confident' -> None",
        "  search.method: None -> 'scan'",
        "  search.tolerance: 0.01 -> 0.02",
        "  seed: 0 -> 2",
        "give the stored values to continue it, or another name to start a new study",
    ]
    assert store.spec(STUDY) == SPEC


def test_facts_that_an_earlier_schedsearch_did_not_keep_are_filled_in(url):
    whole = Facts.of(DecoderShape(4, 32, 4, 2, 8, 64, 100), [SampleTokens(9, 3)])
    known = dataclasses.replace(SPEC, facts=whole)
    assert (SPEC.facts.layers, SPEC.facts.n_visions) == (whole.layers, whole.n_visions)
    with open_store(url) as store:
        assert store.create_study(SPEC)
        assert not store.create_study(known)
        assert store.spec(STUDY) == known
        assert not store.create_study(known)
        other = Facts.of(whole.shape, [SampleTokens(9, 3)] * 2)
        with pytest.raises(InputError, match=r"facts\.tokens\[0\]\[2\]: 1 -> 2"):
            store.create_study(dataclasses.replace(SPEC, facts=other))


def test_list_of_studies_counts_trials_by_state(store):
    began = datetime.now(UTC)
    store.create_study(dataclasses.replace(SPEC, name="second"))
    store.enqueue(STUDY, HALF)
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease, FULL)
        store.close_trial(lease, complete(trial), attempt)
        first, second = store.studies()
    assert (first.spec, first.holder) == (SPEC, Process.current())
    assert first.trials == {TrialState.WAITING: 1, TrialState.COMPLETE: 1}
    assert (second.spec.name, second.trials, second.holder) == ("second", {}, None)
    assert first.created <= began <= second.created <= datetime.now(UTC)


def test_unknown_study_is_refused_with_the_nearest_name(store):
    with pytest.raises(InputError, match="no study `demmo` in the store; did you mean `demo`"):
        store.trials("demmo")
    for call in (store.spec, store.acquire, store.free):
        with pytest.raises(InputError, match="no study `x` in the store; studies here: `demo`"):
            call("x")
    with pytest.raises(InputError, match="no study `x`"):
        store.enqueue("x", HALF)


def test_name_that_no_database_takes_is_refused(store):
    with pytest.raises(InputError, match="the name of a study must be valid text"):
        store.create_study(dataclasses.replace(SPEC, name="a\0b"))


# Trials


def test_trials_wait_under_consecutive_numbers_before_their_work(store):
    with store.lease(STUDY) as lease:
        opened = [store.open_trial(lease, {"count": k}, FULL) for k in range(3)]
    assert [trial.number for trial in opened] == [0, 1, 2]
    assert store.trials(STUDY) == opened
    assert {trial.state for trial in opened} == {TrialState.WAITING}


def test_trials_are_closed_up_to_the_first_that_is_open(store):
    assert store.closed(STUDY) == -1
    with store.lease(STUDY) as lease:
        opened = [open_running(store, lease, schedule) for schedule in (FULL, HALF, FULL)]
        seen = []
        for number in (0, 2, 1):
            store.close_trial(lease, complete(opened[number][0]), opened[number][1])
            seen.append(store.closed(STUDY))
    assert seen == [0, 0, 2]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.none())
@few_examples
def test_screened_trial_comes_back_with_what_is_expected_of_it(store, drop):
    with store.lease(STUDY) as lease:
        trial = store.open_trial(lease, {"round": 1}, HALF, samples=7)
        attempt = store.start_attempt(lease, trial.number)
        part = dataclasses.replace(
            trial, state=TrialState.SCREENED, reason="a part", read=9, expected=drop
        )
        assert store.close_trial(lease, part, attempt)
        (back,) = store.trials(STUDY, after=trial.number - 1)
    assert back == part


@given(targeted_schedules(), params, measurements)
@few_examples
def test_trial_comes_back_as_it_was(store, schedule, chosen, measurement):
    with store.lease(STUDY) as lease:
        trial = store.open_trial(lease, chosen, schedule)
        attempt = store.start_attempt(lease, trial.number)
        assert store.close_trial(lease, complete(trial, measurement), attempt)
    back = store.trials(STUDY)[trial.number]
    assert back == complete(trial, measurement)
    assert back.schedule.target == schedule.target


def test_schedule_of_two_trials_keeps_the_target_of_each(store):
    targets = [Target("Llava", 4), Target("InternVL", 4, hidden_size=8, model="x"), None]
    schedules = [Schedule(HALF.keep, RankerSpec("text"), target) for target in targets]
    with store.lease(STUDY) as lease:
        for schedule in schedules:
            store.open_trial(lease, {}, schedule)
    assert [trial.schedule.target for trial in store.trials(STUDY)] == targets
    assert store.check().rows["schedule"] == 1


def test_trial_runs_and_ends_with_its_attempt(store):
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease)
        assert store.trials(STUDY)[0].state is TrialState.RUNNING
        (running,) = store.attempts(STUDY, 0)
        assert (running.number, running.ended, running.reason) == (attempt, None, "")
        assert store.close_trial(lease, complete(trial), attempt)
        (ended,) = store.attempts(STUDY, 0)
        assert ended.ended is not None
        assert ended.started <= ended.ended
        assert ended.reason == ""


def test_attempt_knows_who_worked_for_it_once_it_has_ended(store):
    with store.lease(STUDY) as lease:
        trial, first = open_running(store, lease)
        assert store.stop_attempt(lease, 0, first, "preempted", workers=STINTS[:1])
        second = store.start_attempt(lease, 0)
        assert [one.workers for one in store.attempts(STUDY, 0)] == [STINTS[:1], ()]
        assert store.close_trial(lease, complete(trial), second, workers=STINTS)
        assert not store.close_trial(lease, complete(trial), second, workers=())
        _, third = open_running(store, lease)
        odd = dataclasses.replace(STINTS[0], worker="a\0b")
        assert store.stop_attempt(lease, 1, third, "hung", workers=[odd])
    assert [one.workers for one in store.attempts(STUDY, 0)] == [STINTS[:1], STINTS]
    last = store.last_attempts(STUDY)
    assert (last[0].workers, last[1].workers[0].worker) == (STINTS, "a\ufffdb")


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_trial_without_a_result_keeps_its_reason(store, state):
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease)
        ended = dataclasses.replace(trial, state=state, reason="score is nan \0 on sample 3")
        assert store.close_trial(lease, ended, attempt)
    (back,) = store.trials(STUDY)
    assert (back.state, back.reason) == (state, "score is nan \ufffd on sample 3")
    assert store.attempts(STUDY, 0)[0].reason == back.reason


def test_repeated_result_counts_once(store):
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease)
        assert store.close_trial(lease, complete(trial), attempt)
        better = complete(trial, dataclasses.replace(MEASURED, score=0.9))
        assert not store.close_trial(lease, better, attempt)
        assert not store.close_trial(lease, failed(trial), attempt)
        assert not store.stop_attempt(lease, trial.number, attempt, "hung")
    assert store.trials(STUDY) == [complete(trial)]


def test_late_result_of_an_older_attempt_does_not_count(store):
    with store.lease(STUDY) as lease:
        trial, first = open_running(store, lease)
        assert store.stop_attempt(lease, trial.number, first, "preempted")
        assert not store.close_trial(lease, complete(trial), first)
        assert store.trials(STUDY)[0].state is TrialState.WAITING
        second = store.start_attempt(lease, trial.number)
        assert not store.close_trial(lease, failed(trial), first)
        assert store.close_trial(lease, complete(trial), second)
    assert store.trials(STUDY) == [complete(trial)]
    assert [(item.number, item.reason) for item in store.attempts(STUDY, 0)] == [
        (1, "preempted"),
        (2, ""),
    ]


def test_new_attempt_ends_the_one_that_is_still_open(store):
    with store.lease(STUDY) as lease:
        trial, first = open_running(store, lease)
        second = store.start_attempt(lease, trial.number)
        assert not store.close_trial(lease, complete(trial), first)
        assert store.close_trial(lease, complete(trial), second)
    reasons = [item.reason for item in store.attempts(STUDY, 0)]
    assert reasons == ["superseded by attempt 2", ""]
    assert all(item.ended for item in store.attempts(STUDY, 0))


def test_finished_trial_takes_no_attempt(store):
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease)
        store.close_trial(lease, failed(trial), attempt)
        with pytest.raises(InputError, match="trial 0 is FAIL and takes no further attempt"):
            store.start_attempt(lease, 0)


def test_trial_that_was_never_opened_is_refused(store):
    with store.lease(STUDY) as lease:
        for call in (
            lambda: store.start_attempt(lease, 7),
            lambda: store.stop_attempt(lease, 7, 1, "hung"),
            lambda: store.close_trial(lease, failed(Trial(7, {}, FULL)), 1),
        ):
            with pytest.raises(InputError, match="study `demo` has no trial 7"):
                call()


def test_measurement_that_is_not_finite_leaves_the_trial_running(store):
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease)
        broken = complete(trial, dataclasses.replace(MEASURED, score=math.nan))
        with pytest.raises(RunError, match="`score` must be finite, but got nan"):
            store.close_trial(lease, broken, attempt)
        assert store.trials(STUDY)[0].state is TrialState.RUNNING
        assert store.close_trial(lease, failed(trial), attempt)


def test_enqueued_schedule_waits_while_another_process_coordinates(store, url):
    with store.lease(STUDY) as lease, open_store(url) as elsewhere:
        store.open_trial(lease, {"layer": 0}, FULL)
        assert elsewhere.enqueue(STUDY, HALF).number == 1
        store.open_trial(lease, {"layer": 1}, FULL)
    assert [trial.params for trial in store.trials(STUDY)] == [{"layer": 0}, {}, {"layer": 1}]


def test_schedule_is_enqueued_again_only_after_it_failed(store):
    with store.lease(STUDY) as lease:
        first = store.enqueue(STUDY, HALF)
        assert store.enqueue(STUDY, HALF) == first
        store.close_trial(lease, failed(first), store.start_attempt(lease, 0))
        second = store.enqueue(STUDY, HALF)
        done = complete(second)
        store.close_trial(lease, done, store.start_attempt(lease, 1))
        assert store.enqueue(STUDY, HALF) == done
        assert store.enqueue(STUDY, Schedule(HALF.keep, RankerSpec("text"))).number == 2


def test_trials_of_studies_are_apart(store):
    store.create_study(dataclasses.replace(SPEC, name="second"))
    store.enqueue(STUDY, FULL)
    assert store.enqueue("second", HALF).number == 0
    assert [trial.schedule for trial in store.trials(STUDY)] == [FULL]


# Evaluations


def test_evaluations_are_found_again_by_context_sample_and_counts(store, context, url):
    assert store.add_scores(context, EVALUATIONS) == len(EVALUATIONS)
    unknown = [("sample-0", (9, 9, 4, 3)), ("sample-99", (9, 9, 4, 2)), ("sample-99", (1,))]
    with open_store(url) as elsewhere:
        assert elsewhere.scores(context, [*EVALUATIONS, *unknown]) == EVALUATIONS
        assert elsewhere.scores(context, unknown) == elsewhere.scores(context, []) == {}
        other = elsewhere.context_id(STUDY, "decaf", {"dtype": "bfloat16"})
        assert elsewhere.scores(other, EVALUATIONS) == {}


def test_another_study_in_the_same_context_finds_the_evaluations(store, context):
    store.add_scores(context, EVALUATIONS)
    store.create_study(dataclasses.replace(SPEC, name="second"))
    same = store.context_id("second", "c0ffee", {"dtype": "float32"})
    assert store.scores(same, EVALUATIONS) == EVALUATIONS


def test_contexts_of_a_study_come_back_as_described_newest_last(store):
    store.create_study(SPEC)
    store.create_study(dataclasses.replace(SPEC, name="other"))
    described = [{"metric": {"name": "a", "code": {"a.b": "1"}}}, {"metric": {"name": "b"}}]
    for number, one in enumerate(described):
        store.context_id(STUDY, f"digest {number}", one)
    store.context_id("other", "digest 1", described[1])
    assert store.contexts(STUDY) == described
    assert store.contexts("other") == described[1:]


def test_first_score_of_a_key_stays(store, context):
    key, other = ("s", (9, 4)), ("t", (9, 4))
    assert store.add_scores(context, {key: Evaluation(0.25, "yes")}) == 1
    assert store.add_scores(context, {key: Evaluation(0.5), other: Evaluation(1.0)}) == 1
    assert store.add_scores(context, {}) == 0
    assert store.scores(context, [key, other]) == {
        key: Evaluation(0.25, "yes"),
        other: Evaluation(1.0),
    }


def test_samples_that_are_known_use_up_no_further_numbers(store, url):
    for repetition in range(3):
        again = store.context_id(STUDY, f"context {repetition}", {})
        store.add_scores(again, EVALUATIONS)
    store.add_scores(again, {("one more", (1,)): Evaluation(1.0)})
    engine = create_engine(url_of(url))
    with engine.connect() as connection:
        for table in ("sample", "counts"):
            count, last = connection.execute(
                text(f"SELECT count(*), max(id) FROM {table}")  # noqa: S608
            ).one()
            assert count == last
    engine.dispose()


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_is_refused_before_anything_is_stored(store, context, score):
    found = {("good", (9,)): Evaluation(1.0), ("bad", (9,)): Evaluation(score)}
    with pytest.raises(RunError, match=f"must be finite, but got {score} on sample bad"):
        store.add_scores(context, found)
    assert store.scores(context, found) == {}
    assert store.check().rows["sample"] == 0


def test_scores_keep_every_bit(store, context):
    values = [0.1, -1e-308, 5e-324, 1.7976931348623157e308, -12.345678901234567, 0.0, 3.0]
    found = {(f"s{i}", (9,)): Evaluation(value) for i, value in enumerate(values)}
    store.add_scores(context, found)
    assert store.scores(context, found) == found


def test_prediction_may_be_any_text(store, context):
    spoken = {"a": "", "b": "Größe 👍\n", "c": "nul \0 here", "d": "half \ud83d a pair"}
    store.add_scores(context, {(k, (9,)): Evaluation(1.0, v) for k, v in spoken.items()})
    back = store.scores(context, [(k, (9,)) for k in spoken])
    assert [back[k, (9,)].prediction for k in spoken] == [
        "",
        "Größe 👍\n",
        "nul \ufffd here",
        "half ? a pair",
    ]


def test_few_statements_serve_thousands_of_samples_with_many_counts(store, context, statements):
    counts = [(n, n, n // 2) for n in range(64, 364)]
    found = {
        (f"{i:064x}", kept): Evaluation(i / 4000)
        for i, kept in zip(range(4000), itertools.cycle(counts), strict=False)
    }
    statements.clear()
    store.add_scores(context, found)
    assert len([s for s in statements if not s.startswith("BEGIN")]) <= 7
    statements.clear()
    assert store.scores(context, found) == found
    assert len([s for s in statements if not s.startswith("BEGIN")]) <= 2


# The lease


def test_study_has_one_coordinator_at_a_time(store):
    me = Process.current()
    with store.lease(STUDY):
        message = f"study `demo` is being searched by process {me.pid} on {me.host} since 2"
        with pytest.raises(RunError, match=message):
            store.acquire(STUDY)
        store.create_study(dataclasses.replace(SPEC, name="second"))
        with store.lease("second"):
            pass
    with store.lease(STUDY):
        pass


def test_token_grows_with_every_coordinator(store):
    tokens = []
    for _ in range(3):
        with store.lease(STUDY) as lease:
            tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


def test_lease_ends_with_the_block_also_when_it_raises(store):
    with pytest.raises(ZeroDivisionError), store.lease(STUDY):
        raise ZeroDivisionError
    assert store.studies()[0].holder is None


def test_lease_of_an_ended_process_is_free(store, monkeypatch):
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    pid = int(subprocess.run(command, capture_output=True, check=True).stdout)
    ended = dataclasses.replace(Process.current(), pid=pid)
    with monkeypatch.context() as patch:
        patch.setattr(Process, "current", lambda: ended)
        old = store.acquire(STUDY)
    with store.lease(STUDY) as lease:
        assert lease.token > old.token


def test_holder_elsewhere_is_not_guessed_dead_at_once_but_can_be_freed(store, monkeypatch):
    elsewhere = Process("node7", 4711)
    with monkeypatch.context() as patch:
        patch.setattr(Process, "current", lambda: elsewhere)
        old = store.acquire(STUDY)
    with pytest.raises(
        RunError, match=r"process 4711 on node7 since .* its lease is valid for (30|29) s yet"
    ):
        store.acquire(STUDY)
    assert store.free(STUDY) == elsewhere
    assert store.free(STUDY) is None
    with pytest.raises(RunError, match="lost the lease of study `demo`, which nobody has now"):
        store.open_trial(old, {}, HALF)
    with store.lease(STUDY) as lease:
        assert lease.token > old.token


def test_heartbeat_shows_others_where_the_search_stands(store, url):
    with open_store(url, read_only=True) as elsewhere:
        before = elsewhere.study(STUDY)
        assert (before.wish, before.progress, before.beat, before.silence) == ("run", *[None] * 3)
        with store.lease(STUDY) as lease:
            begun = elsewhere.study(STUDY)
            assert begun.progress is None
            assert store.beat(lease, PROGRESS) == "run"
            told = elsewhere.study(STUDY)
            assert told.progress == PROGRESS
            assert before.created < begun.beat < told.beat
            assert 0 <= told.silence < 60
            assert [told.trials, told.holder] == [{}, Process.current()]
            assert elsewhere.studies()[0].progress == PROGRESS


def test_wish_reaches_the_coordinator_and_ends_with_it(store, url):
    with open_store(url) as elsewhere:
        assert elsewhere.wish(STUDY, "stop") is None
        with store.lease(STUDY) as lease:
            assert store.beat(lease, None) == "run"
            assert elsewhere.wish(STUDY, "pause") == Process.current()
            assert store.beat(lease, None) == "pause"
            elsewhere.wish(STUDY, "stop")
            assert store.beat(lease, None) == store.study(STUDY).wish == "stop"
            store.beat(lease, PROGRESS)
        assert elsewhere.wish(STUDY, "stop") is None
        with store.lease(STUDY) as lease:
            assert store.study(STUDY).progress is None
            assert store.beat(lease, None) == "run"


def test_nobody_is_asked_whose_process_has_ended(store, monkeypatch):
    store.acquire(STUDY)
    monkeypatch.setattr(Process, "runs", lambda _self: False)
    assert store.wish(STUDY, "stop") is None
    assert store.study(STUDY).wish == "run"


@pytest.mark.usefixtures("store")
def test_wish_that_is_none_is_refused_by_the_database(url):
    engine = create_engine(url_of(url))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text("UPDATE study SET wish = 'more'"))
    engine.dispose()


def test_nobody_wishes_for_a_study_that_is_not_there(store):
    with pytest.raises(InputError, match="no study `other`"):
        store.wish("other", "stop")
    with pytest.raises(InputError, match="no study `other`"):
        store.study("other")


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "released"])
def test_nothing_is_written_without_the_lease(store, replaced):
    with ExitStack() as stack:
        old = store.acquire(STUDY)
        trial, attempt = open_running(store, old)
        waiting = store.open_trial(old, {}, FULL)
        if replaced:
            store.free(STUDY)
            stack.enter_context(store.lease(STUDY))
        else:
            store.release(old)
        before = store.trials(STUDY), store.attempts(STUDY, 0)
        holder = "process .* has" if replaced else "nobody has"
        for write in (
            lambda: store.open_trial(old, {}, HALF),
            lambda: store.start_attempt(old, waiting.number),
            lambda: store.stop_attempt(old, trial.number, attempt, "hung"),
            lambda: store.close_trial(old, complete(trial), attempt),
            lambda: store.beat(old, PROGRESS),
        ):
            with pytest.raises(
                LeaseLostError, match=f"lost the lease of study `demo`, which {holder}"
            ):
                write()
        assert (store.trials(STUDY), store.attempts(STUDY, 0)) == before
        store.release(old)
        assert (store.studies()[0].holder is not None) == replaced


# Care


def test_sound_store_has_no_problems(store, context):
    store.add_scores(context, EVALUATIONS)
    with store.lease(STUDY) as lease:
        trial, attempt = open_running(store, lease)
        store.close_trial(lease, complete(trial), attempt)
        open_running(store, lease, FULL)
        assert store.check().notes == ()
    report = store.check()
    assert report.problems == ()
    assert report.notes == (
        "1 trial(s) of study `demo` were interrupted; the next run takes them up",
    )
    assert report.rows["evaluation"] == len(EVALUATIONS)
    assert (report.rows["trial"], report.rows["attempt"], report.rows["study"]) == (2, 2, 1)


def test_request_is_noted_before_its_result_is_known(store):
    for _ in range(2):
        assert store.begin_certification(STUDY, REQUEST, ["a1", "b2"]) == (1, None)
    assert store.certifications(STUDY) == []
    assert store.check().rows["certification"] == 1


def test_same_request_returns_what_came_of_it(store):
    store.begin_certification(STUDY, REQUEST, ["a1", "b2"])
    for result in (CERTIFICATION, dataclasses.replace(CERTIFICATION, n=99)):
        assert store.end_certification(STUDY, result) == CERTIFICATION  # the first stays
    assert store.begin_certification(STUDY, REQUEST, ["a1", "b2"]) == (1, CERTIFICATION)
    (known,) = store.certifications(STUDY)
    assert known == CERTIFICATION
    assert known.best.schedule.certificate == CERTIFICATION.certificate
    assert store.check().problems == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"chain": "other"}, "another chain of schedules, since the search has gone on"),
        ({"tolerance": 0.02}, "another tolerance"),
        ({"alpha": 0.1}, "another alpha"),
        ({"data_digest": "longer"}, "the samples have changed"),
    ],
)
def test_samples_that_have_been_looked_at_are_refused(store, change, told):
    store.begin_certification(STUDY, REQUEST, ["a1", "b2"])
    other = dataclasses.replace(REQUEST, **change)
    with pytest.raises(InputError, match=f"1 of the 2 images of .*{told}.*give fresh ones"):
        store.begin_certification(STUDY, other, ["b2", "c3"])
    assert store.begin_certification(STUDY, other, ["c3", "d4"]) == (2, None)
    assert store.begin_certification(STUDY, REQUEST, ["a1", "b2"]) == (1, None)
    store.create_study(dataclasses.replace(SPEC, name="second"))
    assert store.begin_certification("second", other, ["b2", "c3"]) == (1, None)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_of_two_requests_at_once_the_second_sees_that_samples_were_looked_at(store, url):
    other = dataclasses.replace(REQUEST, chain="other")
    engine = create_engine(url_of(url))
    noted = text(
        "INSERT INTO certification (study_id, request, images, created) "
        "SELECT id, CAST(:request AS json), 'a1 b2', now() FROM study"
    )
    with ThreadPoolExecutor(1) as pool, engine.connect() as first:
        first.execute(text("SELECT id FROM study FOR UPDATE"))
        second = pool.submit(store.begin_certification, STUDY, other, ["b2", "c3"])
        assert wait([second], timeout=1).not_done
        first.execute(noted, {"request": json.dumps(REQUEST.plain())})
        first.commit()
        with pytest.raises(InputError, match="has looked at 1 of the 2 images"):
            second.result(timeout=30)
    engine.dispose()


def test_comparison_comes_back_until_a_new_one_replaces_it(store):
    assert store.comparison(STUDY) is None
    store.put_comparison(STUDY, COMPARISON)
    assert store.comparison(STUDY) == COMPARISON
    odd = dataclasses.replace(COMPARISON.rows[2], reason="a\0b \ud800")
    new = dataclasses.replace(COMPARISON, rows=(odd,), certified=None, evaluated=0)
    store.put_comparison(STUDY, new)
    found = store.comparison(STUDY)
    assert [row.reason for row in found.rows] == ["a\ufffdb ?"]
    assert dataclasses.replace(found, rows=new.rows) == new
    with pytest.raises(InputError, match="no study `other`"):
        store.comparison("other")


def exhibit(number: int, **changes):
    return dataclasses.replace(EXHIBIT, sample=f"sample {number}", place=number, **changes)


SHOTS = [(exhibit(number), PICTURE) for number in range(5)]


def test_exhibits_come_back_with_their_pictures(store):
    store.enqueue(STUDY, FULL)
    assert store.exhibits(STUDY, 0) == []
    store.add_exhibits(STUDY, 0, SHOTS[:3])
    assert store.exhibits(STUDY, 0) == [one for one, _ in SHOTS[:3]]
    assert store.exhibit_pictures(STUDY, 0) == {f"sample {n}": PICTURE for n in range(3)}
    assert store.exhibit_pictures(STUDY, 0, ["sample 2", "none"]) == {"sample 2": PICTURE}
    assert store.check().problems == ()
    with pytest.raises(InputError, match="no trial 1"):
        store.exhibits(STUDY, 1)
    with pytest.raises(InputError, match="no trial 1"):
        store.add_exhibits(STUDY, 1, SHOTS)


def test_changed_answers_come_first_then_the_order_of_the_set(store):
    store.enqueue(STUDY, FULL)
    same = exhibit(0, answer="fork")
    others = [exhibit(2), exhibit(1), exhibit(4, split="held-out")]
    store.add_exhibits(STUDY, 0, [(one, PICTURE) for one in (same, others[2], *others[:2])])
    assert store.exhibits(STUDY, 0) == [others[1], others[0], others[2], same]


def test_exhibit_stays_unless_it_is_recorded_again(store):
    store.enqueue(STUDY, FULL)
    store.add_exhibits(STUDY, 0, SHOTS[:2])
    new = [(exhibit(0, answer="spoon"), PICTURE)]
    store.add_exhibits(STUDY, 0, new)
    assert store.exhibits(STUDY, 0)[0].answer == "knife"
    store.add_exhibits(STUDY, 0, new, again=True)
    assert [one.answer for one in store.exhibits(STUDY, 0)] == ["spoon", "knife"]


def test_a_study_keeps_the_latest_of_too_many_exhibits(store, monkeypatch):
    monkeypatch.setattr(exhibits, "MOST", 3)
    store.create_study(dataclasses.replace(SPEC, name="second"))
    for study in (STUDY, "second"):
        store.enqueue(study, FULL)
        store.enqueue(study, HALF)
        store.add_exhibits(study, 0, SHOTS[:2])
    store.add_exhibits(STUDY, 1, SHOTS[2:4])
    assert [one.place for one in store.exhibits(STUDY, 0)] == [1]
    assert [one.place for one in store.exhibits(STUDY, 1)] == [2, 3]
    assert len(store.exhibits("second", 0)) == 2


def test_text_that_no_database_takes_is_shown_otherwise(store):
    store.enqueue(STUDY, FULL)
    store.add_exhibits(STUDY, 0, [(exhibit(0, question="a\0b \ud800", answer="\0"), PICTURE)])
    assert store.exhibits(STUDY, 0)[0].question == "a\ufffdb ?"


def test_scores_of_a_study_that_was_deleted_meanwhile_are_refused(store, context):
    store.add_scores(context, EVALUATIONS)
    store.prune([STUDY])
    with pytest.raises(LeaseLostError, match="has been deleted .*; start it again if"):
        store.add_scores(context, EVALUATIONS)
    assert not any(store.check().rows.values())


def test_pruning_removes_a_study_and_what_it_alone_used(store, context):
    store.create_study(second := dataclasses.replace(SPEC, name="second"))
    shared = store.context_id("second", "c0ffee", {"dtype": "float32"})
    own = store.context_id("second", "decaf", {})
    store.add_scores(shared, EVALUATIONS)
    store.add_scores(own, {("only here", (1, 1)): Evaluation(1.0)})
    store.enqueue(STUDY, FULL)
    store.enqueue("second", FULL)
    with store.lease("second") as lease:
        open_running(store, lease, HALF)
        store.begin_certification("second", REQUEST, ["a1", "b2"])
        store.put_comparison("second", COMPARISON)
        store.add_exhibits("second", 1, SHOTS[:2])
        store.add_exhibits(STUDY, 0, SHOTS[:1])
        before = store.check().rows
        with pytest.raises(RunError, match="study `second` is being searched"):
            store.prune(["second"])
    expected = {
        "study": 1, "trial": 2, "attempt": 1, "schedule": 1, "study_context": 2,
        "context": 1, "evaluation": 1, "sample": 1, "counts": 1, "certification": 1,
        "comparison": 1, "exhibit": 2,
    }  # fmt: skip
    assert store.prune(["second"], dry_run=True) == expected
    assert store.check().rows == before
    assert store.prune(["second"]) == expected
    assert store.check().rows == {name: before[name] - expected.get(name, 0) for name in before}
    assert store.check().problems == ()
    assert store.scores(context, EVALUATIONS) == EVALUATIONS
    assert [trial.schedule for trial in store.trials(STUDY)] == [FULL]
    assert store.create_study(second)
    assert store.trials("second") == []
    with pytest.raises(RunError, match="study `second` has been deleted"):
        store.open_trial(lease, {}, FULL)


def test_pruning_without_names_keeps_every_study_and_its_evaluations(store, context):
    store.add_scores(context, EVALUATIONS)
    store.enqueue(STUDY, FULL)
    before = store.check().rows
    assert set(store.prune().values()) == {0}
    assert store.check().rows == before


def test_number_of_a_deleted_context_is_not_given_again(store, context):
    store.prune([STUDY])
    store.create_study(SPEC)
    assert store.context_id(STUDY, "decaf", {}) != context
