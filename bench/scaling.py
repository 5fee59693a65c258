"""How much sooner a search ends with more workers: simulated evaluations on a real Ray cluster.

A worker sleeps for as long as its task takes, which is known beforehand, and answers from a
synthetic target whose full model errs (`bench/erring.py`). All else is the product's own: the
study, the loop, the store on SQLite, the executor and its actors. CPUs are Ray's count: workers
that sleep need none.

    python bench/scaling.py --out bench/results/scaling.json --picture docs/images/scaling.png
"""

import argparse
import json
import math
import os
import platform
import random
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from erring import Erring
from matplotlib.figure import Figure

from schedsearch.app.samplers import resolve
from schedsearch.app.study import Study
from schedsearch.core.facts import Facts
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executor import Executor
from schedsearch.execution.executors.ray import RayExecutor
from schedsearch.samplers.family_settings import BayesSettings
from schedsearch.samplers.settings import GSearchSettings, SamplerSettings
from schedsearch.store.store import open_store

NAME = "scaling"
IDENTITY = {"name": "score", "settings": {}}
WHOLE, BATCH = 64, 8
SIGMA = 0.5


@dataclass(frozen=True)
class Size:
    """Of a problem."""

    layers: int
    n_max: int
    samples: int

    def target(self) -> Erring:
        """Errs on a tenth of its samples; keeping more is never worse."""
        made = Erring(self.layers, self.n_max, self.samples, 0.9, "nested", seed=0)
        made.subject = replace(made.subject, context={"metric": IDENTITY})
        return made


@dataclass(frozen=True)
class Seconds:
    """How long tasks take.

    Attributes:
        median: Seconds of 64 samples of mean length; a task with fewer tokens takes that much less,
            down to an eighth, a batch of 8 samples.
        sigma: Of the logarithm; 0: the same for all tasks of a size.
    """

    median: float
    sigma: float

    def of(self, task: Task, samples: float) -> float:
        """Seconds of a task as long as so many samples, the same whenever it is asked."""
        asked = f"{task.schedule.keep} {task.sample_ids}".encode()
        draw = random.Random(zlib.crc32(asked)).gauss(0.0, self.sigma) if self.sigma else 0.0
        return self.median * max(BATCH, samples) / WHOLE * math.exp(draw)


class Sleeper:
    """A worker that takes its time, and notes from when to when."""

    def __init__(self, target: Erring, seconds: Seconds, file: Path) -> None:
        self._target, self._seconds, self._file = target, seconds, file
        subject = target.subject
        lengths = [one.n_vision + one.n_text for one in subject.tokens]
        mean = sum(lengths) / len(lengths)
        self._lengths = {name: n / mean for name, n in zip(subject.ids, lengths, strict=True)}

    def evaluate(self, task: Task) -> Evaluated:
        """Scores of a task, after as long as it takes."""
        samples = sum(map(self._lengths.__getitem__, task.sample_ids))
        begun, seconds = time.monotonic(), self._seconds.of(task, samples)
        found = self._target.evaluate(task)
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        log = os.open(self._file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(log, f"{begun} {begun + seconds} {len(task.sample_ids)}\n".encode())
        os.close(log)
        return found

    def metric_identity(self) -> Mapping[str, Any]:
        """What scores depend on."""
        return IDENTITY


@dataclass(frozen=True)
class Opening:
    """Opens a worker and leaves a sign of it in a folder."""

    size: Size
    seconds: Seconds
    folder: Path

    def __call__(self) -> Sleeper:
        """The worker."""
        worker = Sleeper(self.size.target(), self.seconds, self.folder / "tasks")
        (self.folder / f"open {os.getpid()}").touch()
        return worker


@contextmanager
def pool(opening: Opening, workers: int) -> Iterator[Executor]:
    """So many workers, all of them open."""
    executor = RayExecutor(opening, ClusterOptions(address="auto", workers=workers))
    try:
        deadline = time.monotonic() + 300
        while len([*opening.folder.glob("open *")]) < workers:
            assert time.monotonic() < deadline, "the workers do not open"
            time.sleep(0.1)
        time.sleep(0.5)  # the pool has yet to hear of the last
        yield executor
    finally:
        executor.close()


def search(settings: SamplerSettings, size: Size, workers: int, seconds: Seconds) -> dict[str, Any]:
    """One search on so many workers; time is counted from the begin of the first task."""
    subject = size.target().subject
    facts = Facts.of(subject.shape, subject.tokens)
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "runs.db") as store:
        plain = resolve(settings, subject, NAME, store).plain()
        spec = StudySpec(NAME, "none", "erring", "c0ffee", "score", plain, facts)
        with pool(Opening(size, seconds, Path(folder)), workers) as executor:
            study = Study(spec, subject, executor, store)
            cpu = time.process_time()
            best = study.run().best
            ended, cpu = time.monotonic(), time.process_time() - cpu
        lines = (Path(folder) / "tasks").read_text().splitlines()
        trials = study.trials
    spans = [tuple(map(float, line.split())) for line in lines]
    wall = ended - min(begun for begun, _, _ in spans)
    slept = sum(max(0.0, min(end, ended) - begun) for begun, end, _ in spans)
    assert best is not None and best.measurement is not None
    return {
        "workers": workers,
        "concurrent_trials": settings.concurrent_trials,
        "median": seconds.median,
        "sigma": seconds.sigma,
        "seconds": wall,
        "busy": slept / workers / wall,
        "passes": sum(samples for _, _, samples in spans) / size.samples,
        "tasks": len(spans),
        "trials": len(trials),
        "stopped_early": sum(trial.state == "PRUNED" for trial in trials),
        "cpu_ms_per_task": 1e3 * cpu / len(spans),
        "cpu_share": cpu / wall,
        "keep": best.schedule.keep,
        "drop": best.measurement.drop,
    }


def bayes(size: Size, workers: list[int], seconds: Seconds, trials: int) -> list[dict[str, Any]]:
    """Bayesian optimisation with as many trials open as there are workers."""
    rows = []
    for n in workers:
        settings = BayesSettings(
            sampler="bayes", budget={"flops": 0.5}, trials=trials, concurrent_trials=n
        )
        rows.append(told("bayes", search(settings, size, n, seconds)))
    return rows


def greedy(size: Size, workers: list[int], seconds: Seconds, trials: int) -> list[dict[str, Any]]:
    """G-Search with so many trials open: what they read is divided among the workers."""
    settings = GSearchSettings(tolerance=0.01, concurrent_trials=trials)
    rows = [told("g-search", search(settings, size, n, seconds)) for n in workers]
    assert len({row["keep"] for row in rows}) == 1, "the schedules differ"
    return rows


def told(what: str, row: dict[str, Any]) -> dict[str, Any]:
    """Print a row as it comes."""
    shown = "workers concurrent_trials sigma seconds busy passes tasks trials cpu_share".split()
    print(what, *(f"{name} {row[name]:.3g}" for name in shown), flush=True)
    return row


def picture(tables: dict[str, list[dict[str, Any]]]) -> Figure:
    """Speed-up by workers; and what open trials trade."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, marker in (("g-search, equal", "o"), ("g-search", "s"), ("bayes", "^")):
        rows = tables[name]
        counts = [row["workers"] for row in rows]
        gains = [rows[0]["seconds"] / row["seconds"] for row in rows]
        left.plot(counts, gains, marker=marker, label=name)
    left.plot(counts, counts, color="grey", linestyle=":", label="ideal")
    left.set_xscale("log", base=2)
    left.set_yscale("log", base=2)
    left.set_xticks(counts, [str(n) for n in counts])
    left.set_yticks(counts, [str(n) for n in counts])
    left.set(xlabel="workers", ylabel="times sooner than with one worker")
    left.legend(frameon=False)
    rows = tables["g-search, trials at once"]
    right.plot([row["passes"] for row in rows], [row["seconds"] for row in rows], marker="o")
    for row in rows:
        place = row["passes"], row["seconds"]
        right.annotate(
            f" {row['concurrent_trials']}", place, xytext=(4, 4), textcoords="offset points"
        )
    right.set(xlabel="work, full passes", ylabel="seconds with 8 workers")
    right.set_title("G-Search by concurrent_trials", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--median", type=float, default=1.0, help="seconds of 64 samples")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--trials", type=int, default=32, help="of the Bayesian optimisation")
    parser.add_argument("--tables", nargs="+", help="those alone; others stay in --out")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    size = Size(options.layers, 576, options.samples)
    drawn, equal = Seconds(options.median, SIGMA), Seconds(options.median, 0.0)
    ray.init(address="local", num_cpus=max(options.workers), log_to_driver=False)
    made: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "g-search, equal": lambda: greedy(size, options.workers, equal, 1),
        "g-search": lambda: greedy(size, options.workers, drawn, 1),
        "g-search, trials at once": lambda: [
            row for trials in (1, 2, 4, 8) for row in greedy(size, [8], equal, trials)
        ],
        "bayes": lambda: bayes(size, options.workers, drawn, options.trials),
    }
    found = {name: made[name]() for name in options.tables or made}
    settings = {name: getattr(options, name) for name in ("median", "layers", "samples")}
    body: dict[str, Any] = {"python": platform.python_version(), **settings, "tables": {}}
    if options.out and options.out.exists() and options.tables:
        body = json.loads(options.out.read_text())
    body["tables"] |= found
    if options.out:
        options.out.write_text(json.dumps(body, indent=2) + "\n")
    if options.picture and body["tables"].keys() == made.keys():
        picture(body["tables"]).savefig(options.picture, dpi=120)


if __name__ == "__main__":
    main()
