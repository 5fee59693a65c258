"""The file of a store goes away while a search runs: noticed, rescued, and continued."""

import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from schedsearch.errors import RunError
from schedsearch.execution import heartbeat
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.store import StoreLostError, open_store
from schedsearch.store.store import check_store
from schedsearch.store.terms import HEARTBEAT, LEASE
from tests.pace import some
from tests.unit.execution.children import Halting, child, pipe, search_and_tell, wait_for
from tests.unit.execution.synthetic import (
    CHUNK,
    SEARCH,
    STUDY,
    SUBJECT,
    Recorded,
    evaluate,
    local,
    new_place,
    spec,
    uninterrupted,
)


def delete(path: Path) -> None:
    path.unlink()


def delete_with_logs(path: Path) -> None:
    for file in path.parent.glob("runs.db*"):
        file.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def rename_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


def replace(path: Path) -> None:
    other = path.with_name("other.db")
    open_store(other).close()
    other.replace(path)


def empty(path: Path) -> None:
    os.truncate(path, 0)


HARMS = {
    delete: "deleted or moved",
    delete_with_logs: "deleted or moved",
    move: "deleted or moved",
    rename_folder: "deleted or moved",
    replace: "replaced by another file",
    empty: "emptied",
}


class Harmful:
    """Evaluates, and does harm to the store while it is at its n-th task."""

    def __init__(self, harm, path: Path, task: int, seconds: float = 0.0) -> None:
        self._harm, self._path, self._left, self._seconds = harm, path, task, seconds

    def __call__(self, task):
        self._left -= 1
        if self._left == 0:
            self._harm(self._path)
            time.sleep(self._seconds)
        return evaluate(task)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return new_place(tmp_path / "folder")


def rescued(error: pytest.ExceptionInfo) -> Path:
    found = re.search(r"is in (\S+\.db): run again with that file", str(error.value))
    assert found is not None, error.value
    return Path(found[1])


EVERY = [(harm, task) for harm in HARMS for task in (1, 12)]
IN_TURNS = [(harm, (1, 12)[number % 2]) for number, harm in enumerate(HARMS)]


@pytest.mark.parametrize(
    ("harm", "task"), some(EVERY, IN_TURNS), ids=lambda one: getattr(one, "__name__", str(one))
)
def test_search_goes_on_from_the_rescue_to_the_same_result(place, harm, task):
    with pytest.raises(StoreLostError, match=HARMS[harm]) as lost:
        place.search(inner=Harmful(harm, place.database, task))
    path = rescued(lost)
    with open_store(path, create=False) as store:
        scoring = Scoring(STUDY, SUBJECT, store, local(evaluate), CHUNK)
        run = run_study(STUDY, SEARCH, scoring, store)
        assert run.ending == "finished"
        assert store.trials(STUDY) == uninterrupted()
        assert store.check().problems == ()
    assert not list(path.parent.glob("*.partial*"))


@pytest.mark.parametrize("harm", [delete, empty])
def test_rescue_loses_no_score(place, harm, monkeypatch):
    # A beat would end the task at hand, and its samples are then asked again.
    monkeypatch.setenv(HEARTBEAT, "3600")
    monkeypatch.setenv(LEASE, "7200")
    log = place.file
    with pytest.raises(StoreLostError) as lost:
        place.search(inner=Harmful(harm, place.database, 12))
    with open_store(rescued(lost), create=False) as store:
        executor = local(Recorded(log, evaluate))
        run_study(STUDY, SEARCH, Scoring(STUDY, SUBJECT, store, executor, CHUNK), store)
    lines = [line.split(";", 2)[2] for line in log.read_text().splitlines()]
    assert len(lines) == len(set(lines))


def test_rescue_keeps_the_other_studies_of_a_deleted_store(place):
    with place.store() as store:
        store.create_study(spec("other"))
    with pytest.raises(StoreLostError) as lost:
        place.search(inner=Harmful(delete, place.database, 3))
    with open_store(rescued(lost)) as store:
        assert [study.spec.name for study in store.studies()] == ["other", STUDY]
        assert all(study.holder is None for study in store.studies())


def test_moved_store_is_complete_where_it_is_now(place):
    with pytest.raises(StoreLostError):
        place.search(inner=Harmful(move, place.database, 12))
    with open_store(place.database.with_name("elsewhere.db"), create=False) as store:
        assert store.check().problems == ()
        assert len(store.trials(STUDY)) > 1
    assert not place.database.exists()


def assert_is_other(path: Path) -> None:
    """It is the store that was moved in: sound, and with its own content alone."""
    assert check_store(path).problems == ()
    with open_store(path, create=False) as store:
        assert [study.spec.name for study in store.studies()] == ["other"]


@pytest.fixture
def other(place):
    """Another store, beside the one that will be searched."""
    path = place.database.with_name("other.db")
    with open_store(path) as store:
        store.create_study(spec("other"))
    return path


@pytest.mark.parametrize("task", [1, 12])
def test_store_that_was_moved_in_stays_what_it_is(place, other, task):
    content = other.read_bytes()
    with pytest.raises(StoreLostError):
        place.search(inner=Harmful(other.replace, place.database, task))
    assert place.database.read_bytes() == content
    assert not list(place.folder.glob("runs.db-*"))
    assert_is_other(place.database)


def test_store_that_was_moved_in_beside_a_search_process_stays_what_it_is(place, other):
    told, answer = pipe()
    with child(search_and_tell, place, answer, {"inner": Halting(12, place.folder)}) as process:
        wait_for(place.folder / f"reached-{process.pid}")
        other.replace(place.database)
        (place.folder / "go").touch()
        assert "was replaced by another file" in told.recv()
        process.join()
    assert_is_other(place.database)


def test_log_of_the_store_that_was_moved_in_is_not_touched(place, other):
    def replaced(_path: Path) -> None:
        with open_store(other) as store:
            store.create_study(spec("in the log"))
            for side in ("", "-wal"):
                copy = shutil.copyfile(f"{other}{side}", f"{place.database}{side}.copy")
                os.replace(copy, f"{place.database}{side}")

    with pytest.raises(StoreLostError):
        place.search(inner=Harmful(replaced, place.database, 12))
    with open_store(place.database, create=False) as store:
        assert [study.spec.name for study in store.studies()] == ["other", "in the log"]
        assert store.check().problems == ()


def test_moved_store_is_complete_also_where_another_has_its_place(place, other):
    def moved(path: Path) -> None:
        move(path)
        other.replace(place.database)

    with pytest.raises(StoreLostError):
        place.search(inner=Harmful(moved, place.database, 12))
    with open_store(place.database.with_name("elsewhere.db"), create=False) as store:
        assert store.check().problems == ()
        assert len(store.trials(STUDY)) > 1
    assert_is_other(place.database)


def test_store_that_is_not_searched_leaves_no_log_to_another_either(place, other):
    with place.store() as store:
        store.create_study(spec())
        other.replace(place.database)
    assert_is_other(place.database)


def test_link_that_names_another_store_by_now_leaves_the_log_where_it_belongs(place, other):
    link = place.folder / "link.db"
    link.symlink_to(place.database)
    with open_store(place.database) as user, open_store(link) as store:
        user.create_study(spec())
        assert len(store.studies()) == 1
        link.unlink()
        link.symlink_to(other)
        with pytest.raises(StoreLostError):
            store.studies()
        store.close()
        assert place.database.with_name("runs.db-wal").exists()
        user.create_study(spec("more"))
    assert_is_other(link)
    with open_store(place.database) as store:
        assert [study.spec.name for study in store.studies()] == [STUDY, "more"]


@pytest.mark.parametrize("task", [1, 12])
def test_emptied_file_stays_empty(place, task):
    with pytest.raises(StoreLostError):
        place.search(inner=Harmful(empty, place.database, task))
    assert place.database.read_bytes() == b""
    assert not list(place.folder.glob("runs.db-*"))


def test_long_task_is_ended_when_the_store_is_lost(place, monkeypatch, caplog):
    monkeypatch.setenv(HEARTBEAT, "0.05")
    began = time.monotonic()
    with pytest.raises(StoreLostError, match="run again with that file"):
        place.search(inner=Harmful(delete, place.database, 2, seconds=60))
    assert time.monotonic() - began < 30
    assert "was deleted or moved while it was in use; the work at hand ends" in caplog.text


def test_task_outside_the_main_thread_is_finished_first(place, monkeypatch):
    monkeypatch.setenv(HEARTBEAT, "0.05")
    errors = []

    def search() -> None:
        try:
            place.search(inner=Harmful(delete, place.database, 2, seconds=0.3))
        except RunError as error:
            errors.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert isinstance(errors[0], StoreLostError)


def test_no_file_is_made_where_the_store_was(place):
    with place.store() as store:
        store.create_study(spec())
        place.database.unlink()
        for use in (store.studies, store.check, lambda: store.backup(place.folder / "copy.db")):
            with pytest.raises(StoreLostError, match=r"runs\.db was deleted or moved"):
                use()
        store._database._engine.dispose()
        with pytest.raises(StoreLostError):
            store.create_study(spec("other"))
    assert not place.database.exists()


def test_ctrl_c_stays_ctrl_c(place, monkeypatch):
    monkeypatch.setenv(HEARTBEAT, "0.01")

    def interrupted(_task):
        raise KeyboardInterrupt

    assert place.search(inner=interrupted).ending == "interrupted"


def test_ctrl_c_stays_ctrl_c_before_the_heart_has_begun_to_beat(monkeypatch):
    def interrupted(_thread):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), heartbeat.Heartbeat(lambda: None).at_work():
        pass


def test_heart_beats_across_short_pieces_of_work():
    beats = []
    heart = heartbeat.Heartbeat(lambda: beats.append(time.monotonic()), period=0.05)
    end = time.monotonic() + 1.0
    while time.monotonic() < end and len(beats) < 3:
        with heart.at_work():
            time.sleep(0.01)
    assert len(beats) == 3
