import sqlite3

import pytest

from schedsearch.errors import InputError, RunError
from schedsearch.store import Evaluation, open_store
from tests.unit.store.strategies import EVALUATIONS, SPEC

STUDY = SPEC.name


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            "DELETE FROM sample WHERE id = 1",
            "a row of `evaluation` refers to a row of `sample` that does not exist",
        ),
        (
            "UPDATE schedule SET keep = '[1.0,1.0,0.5,0.5]' WHERE id = 2",
            "schedule 2 is not the one that was stored: its digest differs",
        ),
        (
            "UPDATE schedule SET keep = '[1.0,1.0,0.5,0.75]' WHERE id = 2",
            "schedule 2 is not the one that was stored: its digest differs",
        ),
        (
            "UPDATE trial SET number = 7 WHERE number = 2",
            "trials of study `demo` are missing: their numbers have gaps",
        ),
        (
            "UPDATE attempt SET ended = started",
            "trial 1 of study `demo` is RUNNING, which its last attempt contradicts",
        ),
        (
            "UPDATE trial SET state = 'WAITING' WHERE number = 1",
            "trial 1 of study `demo` is WAITING, which its last attempt contradicts",
        ),
    ],
)
def test_check_names_what_is_broken(store, path, damage, problem):
    with sqlite3.connect(path) as connection:
        assert connection.execute(damage).rowcount > 0
    connection.close()
    assert problem in store.check().problems


def test_check_reports_content_that_breaks_the_rules_of_its_table(store, path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute("UPDATE trial SET score = NULL WHERE number = 0")
    connection.close()
    assert store.check().problems == ("the file is damaged: CHECK constraint failed in trial",)


def test_check_of_a_file_that_cannot_be_read_through_says_so(store, path):
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 3 * 4096)
        file.write(b"\xff" * 4096)
    with (
        open_store(path) as damaged,
        pytest.raises(InputError, match=r"runs\.db is damaged .*go back to a backup"),
    ):
        damaged.check()


def test_complete_trial_without_a_score_cannot_be_written(store, path):
    connection = sqlite3.connect(path)
    for constraint, change in (
        ("ck_trial_complete", "UPDATE trial SET state = 'COMPLETE' WHERE number = 1"),
        ("ck_trial_complete", "UPDATE trial SET score = NULL WHERE number = 0"),
        ("ck_trial_state", "UPDATE trial SET state = 'LOST' WHERE number = 1"),
    ):
        with pytest.raises(sqlite3.IntegrityError, match=constraint):
            connection.execute(change)
    connection.close()
    assert store.check().problems == ()


def test_unused_evaluations_are_noted_and_pruned(store, path):
    store.create_study(SPEC)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM study_context")
    connection.close()
    assert any(
        note.startswith("2000 evaluation(s) belong to no study") for note in store.check().notes
    )
    assert store.prune()["evaluation"] == 2000
    assert store.check().rows["sample"] == store.check().rows["counts"] == 0


def test_pruning_gives_space_back(store, path, tmp_path):
    store.prune([STUDY], dry_run=True)
    store.close()
    open_store(tmp_path / "empty.db").close()
    empty, before = (tmp_path / "empty.db").stat().st_size, path.stat().st_size
    with open_store(path) as again:
        again.prune([STUDY])
    assert path.stat().st_size - empty < (before - empty) / 10


def test_write_that_does_not_fit_loses_nothing_stored(store, file_size_limit):
    trials = store.trials(STUDY)
    more = {(f"more {i:060}", (9, 9)): Evaluation(1.0, "no") for i in range(20_000)}
    file_size_limit(400_000)
    with pytest.raises(RunError, match=r"runs\.db .* what was stored before is safe"):
        store.add_scores(1, more)
    assert store.trials(STUDY) == trials
    assert store.scores(1, [*EVALUATIONS, *more]) == EVALUATIONS
    assert store.check().problems == ()
