"""A study on real Ray Tune: the store has what an uninterrupted search without it finds."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("ray.tune", reason="needs ray[tune]")

from ray import tune

from schedsearch.core.families import FAMILIES
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.loop import Limits, Run, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.execution.tune import StudySearcher, TuneExecutor, study_trainable, tune_space
from schedsearch.store import Store
from schedsearch.store.store import find_store
from tests.unit.execution.synthetic import (
    CHUNK,
    SEARCH,
    STUDY,
    SUBJECT,
    FunctionWorker,
    Place,
    Recorded,
    new_place,
    spec,
    uninterrupted,
)

ROOT = Path(__file__).parents[2]
LAYERS = 6


class Synthetic:
    """The synthetic study, as `StudySearcher` knows one."""

    name = STUDY

    def __init__(self, store: Store, executor: TuneExecutor) -> None:
        self.store = store
        self.executor = executor

    def run(self, n_trials=None, timeout=None, callbacks=()) -> Run:
        scoring = Scoring(STUDY, SUBJECT, self.store, self.executor, CHUNK)
        on_trial = [partial(one, self) for one in callbacks]
        limits = Limits(n_trials, timeout)
        return run_study(STUDY, SEARCH, scoring, self.store, limits=limits, on_trial=on_trial)


class Mortal:
    """Opens a worker whose process ends in its third task, unless another's has."""

    def __init__(self, place: Place) -> None:
        self._inner = FunctionWorker(Recorded(place.file))
        self._mark = place.folder / "died"
        self._tasks = 0

    def evaluate(self, task: Task) -> Evaluated:
        self._tasks += 1
        if self._tasks == 3 and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner.evaluate(task)


def on_tune(place: Place, trials: int | None = None) -> tuple[Run | None, list[dict]]:
    """Search on Tune as a new process would; how it ended, and what Tune was told of its trials."""
    with place.store() as store:
        store.create_study(spec())
        executor = TuneExecutor(partial(Mortal, place))
        try:
            searcher = StudySearcher(Synthetic(store, executor), trials)
            tuner = tune.Tuner(
                study_trainable(executor),
                tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(storage_path=str(place.folder / "tune"), verbose=0),
            )
            found = tuner.fit()
        finally:
            executor.close()
        return searcher.run, [one.metrics for one in found if one.error is None]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.full
@pytest.mark.parametrize("dies", [False, True])
def test_search_on_tune_that_is_left_and_loses_a_worker_finds_the_same_trials(
    tmp_path, monkeypatch, dies
):
    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would stay for what comes later
    place = new_place(tmp_path)
    if not dies:
        (place.folder / "died").touch()
    begun, _ = on_tune(place, trials=3)
    finished, told = on_tune(place)
    assert begun and begun.ending == "trials"
    assert finished and finished.ending == "finished"
    assert (place.folder / "died").exists()
    assert place.trials() == uninterrupted()
    lines = [(line.content, line.counts, line.ranker) for line in place.evaluated]
    assert len(lines) == len(set(lines)), "an evaluation was repeated"
    scores = {t.number: t.measurement.score for t in place.trials() if t.measurement}
    shown = {one["config"]["trial"]: one["score"] for one in told if "score" in one}
    assert shown, "Tune was told of no measurement"
    assert shown == {number: scores[number] for number in shown}
    with place.store() as store:
        attempts = store.last_attempts(STUDY).values()
    workers = {worker.worker for one in attempts for worker in one.workers}
    assert workers
    assert all(name.startswith("Tune's trial ") for name in workers)


@pytest.mark.parametrize("name", FAMILIES)
def test_points_that_tune_suggests_are_points_of_the_familys_space(name):
    space = FAMILIES[name]().space(LAYERS)
    domains = tune_space(space)
    assert list(domains) == [parameter.name for parameter in space.parameters]
    for parameter in space.parameters:
        drawn = [domains[parameter.name].sample() for _ in range(50)]
        assert [parameter.check(value) for value in drawn] == drawn


@pytest.mark.full
def test_search_on_tune_killed_and_started_again_repeats_no_finished_evaluation(tmp_path):
    place = new_place(tmp_path)
    (tmp_path / "died").touch()
    killed([sys.executable, "-m", __spec__.name, str(tmp_path)], place.database, trials=5)
    known, begun = evaluations(place.database), len(place.evaluated)
    finished, _ = on_tune(place)
    assert finished and finished.ending == "finished"
    assert place.trials() == uninterrupted()
    later = place.evaluated[begun:]
    assert later
    assert finished.evaluated == len(later) == len(evaluations(place.database)) - len(known)


@pytest.mark.full
def test_example_that_is_killed_and_started_again_closes_20_trials(tmp_path):
    store = tmp_path / "runs.db"
    command = [sys.executable, str(ROOT / "docs" / "examples" / "tune_search.py"), "20", str(store)]
    killed(command, store, trials=7)
    before = evaluations(store)
    subprocess.run(command, cwd=tmp_path, env=environment(), timeout=400, check=True)
    assert before and before.items() < evaluations(store).items()
    assert closed(store) == 20
    Schedule.load(tmp_path / "schedule.json")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def killed(command: list[str], store: Path, trials: int) -> None:
    """Run a search in a process of its own, and kill it once it has closed so many trials."""
    process = subprocess.Popen(command, cwd=store.parent, env=environment())
    try:
        until = time.monotonic() + 300
        while closed(store) < trials:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < until, "it takes too long"
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()


def closed(file: Path) -> int:
    """Trials that have ended, of the only study."""
    if not file.exists() or (store := find_store(file)) is None:
        return 0
    with store:
        names = [one.spec.name for one in store.studies()]
        return sum(one.state.finished for name in names for one in store.trials(name))


def evaluations(file: Path) -> dict[tuple[int, ...], float]:
    """Scores by the keys of context, counts and sample."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT context_id, counts_id, sample_id, score FROM evaluation")
        return {tuple(keys): score for *keys, score in rows}


if __name__ == "__main__":
    on_tune(Place(Path(sys.argv[1])))
