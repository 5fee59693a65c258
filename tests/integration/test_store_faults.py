"""A coordinator is killed just before and just after each of its commits, one at a time."""

import multiprocessing
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, select
from sqlalchemy.pool import Pool

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore
from schedsearch.store import Evaluation, EvaluationKey, Store, open_store
from schedsearch.store.address import url_of
from schedsearch.store.tables import Base
from tests.pace import some
from tests.postgres import new_database
from tests.unit.store.strategies import SPEC, complete

SCHEDULES = (Schedule.full(3), Schedule((1.0, 0.5, 0.25)))
SAMPLES = tuple(f"sample {number}" for number in range(4))
CHUNK = 2
COMMITS = 1 + 1 + 1 + 1 + len(SCHEDULES) * (2 + len(SAMPLES) // CHUNK + 1) + 1
"""Tables, study, lease, context; per trial its row, its attempt, its chunks, its end; release."""

# Forked, so that a child does not spend its short life on imports. Python warns from 3.12 on if
# there are threads, such as those of pytest-xdist; the children touch nothing of theirs.
processes = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def search(url: str, log: Path, study: str = SPEC.name) -> None:
    """A short search that writes each evaluation it makes to a file no crash can undo."""
    with open_store(url) as store:
        store.create_study(replace(SPEC, name=study))
        with store.lease(study) as lease:
            context = store.context_id(study, "c0ffee", {"dtype": "float32"})
            for schedule in SCHEDULES:
                known = [trial for trial in store.trials(study) if trial.schedule == schedule]
                trial = known[0] if known else store.open_trial(lease, {}, schedule)
                if trial.state.finished:
                    continue
                attempt = store.start_attempt(lease, trial.number)
                measured = evaluate(store, context, schedule, log)
                assert store.close_trial(lease, complete(trial, measured), attempt)


def evaluate(store: Store, context: int, schedule: Schedule, log: Path) -> Measurement:
    scores: list[SampleScore] = []
    for start in range(0, len(SAMPLES), CHUNK):
        keys = [(sample, schedule.counts(16)) for sample in SAMPLES[start : start + CHUNK]]
        known = store.scores(context, keys)
        missing = [key for key in keys if key not in known]
        if missing:
            store.add_scores(context, {key: score(key, log) for key in missing})
        known = store.scores(context, keys)
        scores += [SampleScore(sample, known[sample, kept].score) for sample, kept in keys]
    return Measurement.of(scores, flops_ratio=0.5, kv_ratio=0.5)


def score(key: EvaluationKey, log: Path) -> Evaluation:
    with log.open("a") as file:
        file.write(f"{key}\n")
    sample, counts = key
    return Evaluation(sum(counts) / 48 + SAMPLES.index(sample), "yes")


def doomed_search(url: str, log: Path, number: int, moment: str) -> None:
    """The same search, killed before or after its commit `number`, counted from 1."""
    commits = 0

    def before(_connection) -> None:
        nonlocal commits
        commits += 1
        if (commits, moment) == (number, "before"):
            os.kill(os.getpid(), signal.SIGKILL)

    def after(_connection, _record) -> None:
        if (commits, moment) == (number, "after"):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "commit", before)
    event.listen(Pool, "checkin", after)
    search(url, log)


def contents(url: str) -> dict[str, list[tuple]]:
    """All rows of all tables but for moments, processes and marks; {} where there are no tables."""
    engine = create_engine(url_of(url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).get_table_names():
                return {}
            return {
                name: [tuple(map(comparable, row._mapping.items())) for row in rows]
                for name, table in Base.metadata.tables.items()
                for rows in [connection.execute(select(table).order_by(*table.primary_key))]
            }
    finally:
        engine.dispose()


def results(url: str) -> tuple[object, ...]:
    """What a finished search leaves behind, however it came about."""
    keys = [(sample, schedule.counts(16)) for sample in SAMPLES for schedule in SCHEDULES]
    with open_store(url) as store:
        report = store.check()
        assert report.problems == report.notes == ()
        rows = {name: count for name, count in report.rows.items() if name != "attempt"}
        context = store.context_id(SPEC.name, "c0ffee", {})
        return rows, store.trials(SPEC.name), store.scores(context, keys)


def comparable(item: tuple[str, object]) -> object:
    name, value = item
    return value is not None if name in MOMENTS else value


MOMENTS = {"created", "started", "ended", "lease_since", "lease_holder", "beat", "mark"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Makes addresses of new databases."""
    if request.param == "sqlite":
        return lambda name: str(tmp_path / f"{name}.db")
    server_url = request.getfixturevalue("postgresql")
    return lambda _: new_database(server_url)


def states_after_each_commit(url: str, log: Path) -> list[dict[str, list[tuple]]]:
    states = [contents(url)]
    armed = False

    def commit(_connection) -> None:
        nonlocal armed
        armed = True

    def checkin(_connection, _record) -> None:
        nonlocal armed
        if armed:
            armed = False
            states.append(contents(url))

    event.listen(Engine, "commit", commit)
    event.listen(Pool, "checkin", checkin)
    try:
        search(url, log)
    finally:
        event.remove(Engine, "commit", commit)
        event.remove(Pool, "checkin", checkin)
    return states


EVERY = [(kind, moment) for kind in ("sqlite", "postgresql") for moment in ("before", "after")]


@pytest.mark.parametrize(("database", "moment"), some(EVERY, [EVERY[1]]), indirect=["database"])
def test_killed_at_any_commit_it_loses_nothing_and_goes_on(database, tmp_path, moment):
    states = states_after_each_commit(whole := database("whole"), tmp_path / "whole.log")
    assert len(states) == COMMITS + 1
    for number in range(1, COMMITS + 1):
        url, log = database(f"{number}"), tmp_path / f"{number}.log"
        log.touch()
        child = processes.Process(target=doomed_search, args=(url, log, number, moment))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL, number
        stored = states[number - 1 if moment == "before" else number]
        assert contents(url) == stored, number

        evaluated = log.read_text().splitlines()
        search(url, log)
        assert results(url) == results(whole), number
        repeated = [key for key, n in Counter(log.read_text().splitlines()).items() if n > 1]
        assert repeated == evaluated[len(stored.get("evaluation", ())) :], number
        assert len(repeated) in ((0, CHUNK) if moment == "before" else (0,)), number


def test_second_study_with_the_same_questions_evaluates_nothing(database, tmp_path):
    url, log = database("twice"), tmp_path / "log"
    search(url, log)
    assert len(log.read_text().splitlines()) == len(SCHEDULES) * len(SAMPLES)
    search(url, log, study="second")
    assert len(log.read_text().splitlines()) == len(SCHEDULES) * len(SAMPLES)
    with open_store(url) as store:
        assert store.trials("second") == store.trials(SPEC.name)
