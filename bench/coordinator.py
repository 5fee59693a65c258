"""What the coordinator costs per trial beside evaluating and asking, and what the store needs.

A sampler that asks one random schedule after another without thinking, workers that answer at once,
and everything between them as a search runs it: the loop, the store, the transactions. With several
workers as many trials are open, and tasks end in any order.

    python bench/coordinator.py --trials 10000 --out bench/results/coordinator.json
    python bench/coordinator.py --workers 8 --store postgresql
"""

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine, text

from schedsearch.core.facts import Facts, Prompts
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import SampleScore, Task, Trial
from schedsearch.execution.executor import Outcome, Ticket
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.family_settings import RandomSettings
from schedsearch.samplers.sampler import Question, Status
from schedsearch.store.store import Store, open_store

STUDY = "bench"
LAYERS, TOKENS, TEXT = 32, 576, 40


class Clock:
    """Seconds of the coordinator itself, on the wall and of its processor."""

    def __init__(self) -> None:
        self._others = np.zeros(2)
        self.closed: list[np.ndarray] = []

    @contextmanager
    def others(self) -> Iterator[None]:
        """Leave out what the block takes."""
        began = self._now()
        yield
        self._others += self._now() - began

    def close(self, _trial: Trial) -> None:
        """Note that a trial is closed."""
        self.closed.append(self._now() - self._others)

    def _now(self) -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])


class Instant:
    """An executor whose workers need no time, and are ready in any order.

    Args:
        workers: How many. Each has one task at work and one that waits for it.
        clock: Takes what this costs.
    """

    def __init__(self, workers: int, clock: Clock) -> None:
        self.slots = 2 * workers if workers > 1 else 1
        self._workers = workers
        self._clock = clock
        self._rng = random.Random(0)
        self._flying: list[tuple[Ticket, Task]] = []

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""
        self._flying.append((ticket, task))

    def next(self) -> Outcome:
        """One of those at work."""
        with self._clock.others():
            at_work = min(self._workers, len(self._flying))
            ticket, task = self._flying.pop(self._rng.randrange(at_work))
            found = tuple(SampleScore(name, 0.5, "yes") for name in task.sample_ids)
            return Outcome(ticket, task, found)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Forget tasks."""
        self._flying = [flying for flying in self._flying if flying[0] not in tickets]


class Thoughtless:
    """Asks one random falling schedule after another."""

    name, noise = "thoughtless", 0.0

    def __init__(self, trials: int, concurrent_trials: int, clock: Clock) -> None:
        self.concurrent_trials = concurrent_trials
        self._trials = trials
        self._clock = clock
        self._space = Sigmoid().space(LAYERS)

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """As many questions as may be open, as long as there are trials to go."""
        with self._clock.others():
            # None is asked before the one is over that it may know of.
            opened = (trial.number for trial in history[-self.concurrent_trials :])
            first = next((n for n in opened if not history[n].state.finished), len(history))
            end = min(first + self.concurrent_trials, self._trials)
            return [self._question(number) for number in range(len(history), end)]

    def _question(self, number: int) -> Question:
        rng = random.Random(number)
        counts = sorted((rng.randrange(TOKENS) for _ in range(LAYERS - 2)), reverse=True)
        keep = (1.0, 1.0, *(count / TOKENS for count in counts))
        point = {each.name: each.at(rng.random()) for each in self._space.parameters}
        return Question(point, Schedule(keep if number else (1.0,) * LAYERS))

    def finished(self, history: Sequence[Trial]) -> bool:
        """Whether all trials are asked."""
        return len(history) >= self._trials

    def hopeless(self, _history: Sequence[Trial], _trial: Trial, _least_drop: float) -> bool:
        """Never."""
        return False

    def best(self, _history: Sequence[Trial]) -> Trial | None:
        """None: looking for it would be thinking."""
        return None

    def status(self, _history: Sequence[Trial]) -> Status:
        """Nothing to tell."""
        return Status("bench", 0)


def subject(samples: int) -> Subject:
    return Subject(
        name=STUDY,
        digest="",
        split="calibration",
        ids=tuple(f"q{n}" for n in range(samples)),
        keys=tuple(f"{n:064x}" for n in range(samples)),
        tokens=(SampleTokens(TOKENS, TEXT),) * samples,
        shape=DecoderShape(LAYERS, 4096, 32, 32, 128, 11008, 32000),
        target=None,
        context={"weights": "none"},
    )


def search(
    trials: int,
    samples: int,
    workers: int,
    store: Store,
    on_trial: Sequence[Callable[[Trial], object]] = (),
) -> np.ndarray:
    """Seconds that each trial but the first costs, on the wall and of the processor."""
    clock = Clock()
    facts = Facts(LAYERS, (Prompts(TOKENS, TEXT, samples),), subject(samples).shape)
    # Whose trials these could be, so that the commands can read the store.
    settings = RandomSettings(sampler="random", budget={"flops": 0.5}, trials=trials)
    search = settings.model_dump(mode="json")
    store.create_study(StudySpec(STUDY, "none", "bench", "c0ffee", "score", search, facts))
    executor, sampler = Instant(workers, clock), Thoughtless(trials, workers, clock)
    scoring = Scoring(
        STUDY, subject(samples), store, executor, concurrent_trials=sampler.concurrent_trials
    )
    run_study(STUDY, sampler, scoring, store, on_trial=[clock.close, *on_trial])
    # Over as many trials as are open: one that is decided lets now none, now several others begin.
    closed = np.array(clock.closed)
    return (closed[workers:] - closed[:-workers]) / workers


def run(trials: int, samples: int, workers: int, url: str) -> dict[str, object]:
    with open_store(url) as store:
        seconds, cpu = search(trials, samples, workers, store).T
        served, rows = server_cpu(url), store.check().rows
    size = size_of(url)
    return {
        "trials": trials,
        "samples": samples,
        "workers": workers,
        "ms_per_trial": by_tenth(seconds),
        "mean_ms_per_trial": round(1e3 * float(seconds.mean()), 2),
        "mean_cpu_ms_per_trial": round(1e3 * float(cpu.mean()), 2),
        "mean_server_cpu_ms_per_trial": round(1e3 * served / trials, 2),
        "slope_ms_per_1000_trials": slope(seconds),
        "bytes": size,
        "bytes_per_trial": round(size / rows["trial"]),
        "bytes_per_evaluation": round(size / rows["evaluation"], 1),
        "rows": dict(rows),
    }


@contextmanager
def store_at(where: str) -> Iterator[tuple[str, str]]:
    """URL or path of an empty store, and the version of its database."""
    if where == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield str(Path(folder) / "runs.db"), f"SQLite {sqlite3.sqlite_version}"
    elif where == "postgresql":
        from tests.postgres import server

        with server(durable=True) as made, store_at(made.url) as found:
            yield found
    else:
        engine = create_engine(where)
        with engine.connect() as connection:
            version = connection.scalar(text("SHOW server_version"))
        engine.dispose()
        yield where, f"PostgreSQL {version}"


def server_cpu(url: str) -> float:
    """Seconds of the processor that a server on this machine has spent on its connections."""
    if "://" not in url:
        return 0.0
    engine = create_engine(url)
    clients = "backend_type = 'client backend' AND pid != pg_backend_pid()"
    with engine.connect() as connection:
        pids = connection.scalars(text(f"SELECT pid FROM pg_stat_activity WHERE {clients}"))  # noqa: S608
        files = [Path(f"/proc/{pid}/stat") for pid in pids]
    engine.dispose()
    fields = [file.read_text().rpartition(")")[2].split() for file in files if file.exists()]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def size_of(url: str) -> int:
    """Bytes of a store."""
    if "://" not in url:
        return Path(url).stat().st_size
    engine = create_engine(url)
    with engine.connect() as connection:
        size = connection.scalar(text("SELECT pg_database_size(current_database())"))
    engine.dispose()
    return int(size)


def by_tenth(seconds: np.ndarray) -> list[float]:
    """Median of each tenth of the trials."""
    return [round(1e3 * float(statistics.median(part)), 2) for part in np.array_split(seconds, 10)]


def slope(seconds: np.ndarray, resamples: int = 2000) -> dict[str, float]:
    """How much a trial costs more after 1,000 others, with its 95 % interval.

    Of the medians of a hundred parts, which an fsync or a checkpoint does not move; resampled.
    """
    parts = np.array_split(1e3 * seconds, 100)
    x = np.cumsum([len(part) for part in parts]) / 1e3
    y = np.array([np.median(part) for part in parts])
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(x), (resamples, len(x)))
    slopes = [np.polyfit(x[pick], y[pick], 1)[0] for pick in picks]
    low, high = np.percentile(slopes, [2.5, 97.5])
    return {"value": float(np.polyfit(x, y, 1)[0]), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--store",
        default="sqlite",
        help="sqlite, a file of its own; postgresql, a server of its own; or the URL of a server",
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with store_at(options.store) as (url, version):
        found = run(options.trials, options.samples, options.workers, url)
    found |= {"python": platform.python_version(), "database": version}
    found |= {"load_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)]}
    written = json.dumps(found, indent=2)
    print(written)
    if options.out:
        options.out.write_text(written + "\n")


if __name__ == "__main__":
    main()
