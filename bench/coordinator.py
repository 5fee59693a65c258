"""What the coordinator costs per trial beside evaluating and asking, and what the store needs.

A sampler that asks one random schedule after another without thinking, an evaluator that answers at
once, and everything between them as a search runs it: the loop, the store, the transactions.

    python bench/coordinator.py --trials 10000 --out bench/results/coordinator.json
"""

import argparse
import json
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schedsearch.core.facts import Facts, Prompts
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Evaluated, SampleScore, Task, Trial
from schedsearch.execution.executors.local import LocalExecutor
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.family_settings import RandomSettings
from schedsearch.samplers.sampler import Question, Status
from schedsearch.store.store import open_store

STUDY = "bench"
LAYERS, TOKENS, TEXT = 32, 576, 40


class Clock:
    """Seconds that the coordinator waited for others, and when each trial was closed."""

    def __init__(self) -> None:
        self.others = 0.0
        self.closed: list[float] = []

    def own(self) -> float:
        """Seconds of the coordinator itself, up to now."""
        return time.perf_counter() - self.others


class Instant:
    """A worker that needs no time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def evaluate(self, task: Task) -> Evaluated:
        """The same for everybody."""
        began = time.perf_counter()
        found = tuple(SampleScore(name, 0.5, "yes") for name in task.sample_ids)
        self._clock.others += time.perf_counter() - began
        return Evaluated(found)


class Thoughtless:
    """Asks one random falling schedule after another."""

    name, concurrent_trials, noise = "thoughtless", 1, 0.0

    def __init__(self, trials: int, clock: Clock) -> None:
        self._trials = trials
        self._clock = clock
        self._space = Sigmoid().space(LAYERS)

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """One question, as long as there are trials to go."""
        began, number = time.perf_counter(), len(history)
        asked = []
        if number < self._trials and (not history or history[-1].state.finished):
            rng = random.Random(number)
            counts = sorted((rng.randrange(TOKENS) for _ in range(LAYERS - 2)), reverse=True)
            keep = (1.0, 1.0, *(count / TOKENS for count in counts))
            point = {each.name: each.at(rng.random()) for each in self._space.parameters}
            asked = [Question(point, Schedule(keep if number else (1.0,) * LAYERS))]
        self._clock.others += time.perf_counter() - began
        return asked

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


def run(trials: int, samples: int, folder: Path) -> dict[str, object]:
    clock, file = Clock(), folder / "runs.db"

    with open_store(file) as store:
        facts = Facts(LAYERS, (Prompts(TOKENS, TEXT, samples),), subject(samples).shape)
        # Whose trials these could be, so that the commands can read the store.
        settings = RandomSettings(sampler="random", budget={"flops": 0.5}, trials=trials)
        search = settings.model_dump(mode="json")
        store.create_study(StudySpec(STUDY, "none", "bench", "c0ffee", "score", search, facts))
        scoring = Scoring(STUDY, subject(samples), store, LocalExecutor(lambda: Instant(clock)))
        sampler = Thoughtless(trials, clock)
        on_trial = [lambda _trial: clock.closed.append(clock.own())]
        run_study(STUDY, sampler, scoring, store, on_trial=on_trial)
        rows = store.check().rows
    seconds = np.diff(clock.closed)
    return {
        "trials": trials,
        "samples": samples,
        "ms_per_trial": by_tenth(seconds),
        "slope_ms_per_1000_trials": slope(seconds),
        "bytes": file.stat().st_size,
        "bytes_per_trial": round(file.stat().st_size / rows["trial"]),
        "bytes_per_evaluation": round(file.stat().st_size / rows["evaluation"], 1),
        "rows": dict(rows),
    }


def by_tenth(seconds: np.ndarray) -> list[float]:
    """Median of each tenth of the trials."""
    return [round(1e3 * statistics.median(part), 2) for part in np.array_split(seconds, 10)]


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
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.trials, options.samples, Path(folder))
    found |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    text = json.dumps(found, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
