"""What a G-Search costs where the full model errs: the walk of a study on synthetic answers.

A sample is answered while every layer keeps what that sample needs there, a share of the curve
published for LLaVA-1.5-7B; one sample in ten needs no vision at all. The full model misses as many
samples as its score says. Three kinds of model:

* `nested`: what keep-all misses stays missed, so that keeping more is never worse.
* `gains`: every fourth of the missed samples is answered once its distractor is removed.
* `noise`: besides, a few samples, whichever the full model made of them, toss a coin under every
  schedule that removes tokens of theirs.

Trials are measured by the product's own `Measuring`, with its order of reading, its probes and its
early stops, on a store in memory. Needs no torch.
"""

import argparse
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from multiprocessing import Pool
from typing import Any, Literal, cast

import numpy as np
from published import published

from schedsearch.core.flops import DecoderShape, SampleTokens, prefill_flops
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Evaluated, SampleScore, Task, Trial, TrialState, Work
from schedsearch.execution.executor import Ticket
from schedsearch.execution.executors.local import LocalExecutor
from schedsearch.execution.measuring import Measuring, TrialRun
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.settings import default_screens
from schedsearch.store.evaluations import Evaluation
from schedsearch.store.store import Store

Kind = Literal["nested", "gains", "noise"]
TEXT = 40


@dataclass(frozen=True)
class Cost:
    """What a search has cost, and what it found; passes in full-forward equivalents."""

    passes: float
    questions: int
    counts: tuple[int, ...]


class Erring:
    """A subject whose full model scores `full_score`, and who evaluates it.

    Args:
        layers: Of the model.
        n_max: Vision tokens of the largest samples; others have three quarters or half of it.
        samples: How many there are.
        full_score: Share of the samples that keep-all answers.
        kind: Of the model.
        seed: Of all draws.
        reuse: Whether a task goes on from the layers that its last evaluation shares with the
            best schedule; else every evaluation begins at the first layer.
    """

    def __init__(
        self,
        layers: int,
        n_max: int,
        samples: int,
        full_score: float,
        kind: Kind,
        seed: int,
        reuse: bool = True,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.n_max, self._kind, self._seed, self._reuse = n_max, kind, seed, reuse
        n_vision = np.ceil(n_max * rng.choice([1.0, 0.75, 0.5], samples)).astype(int)
        n_vision[0] = n_max
        curve = np.array(published(layers))
        curve[:2] = 0.0  # these layers keep everything
        shares = rng.normal(0.7, 0.15, samples).clip(0.05, 1.05)
        shares[rng.random(samples) < 0.1] = 0.0
        most = n_vision[:, None]
        self._needs = np.minimum(np.round(most * curve * shares[:, None]), most)
        self._right = np.zeros(samples, dtype=bool)
        self._right[rng.permutation(samples)[: round(samples * full_score)]] = True
        gainful = ~self._right & (rng.random(samples) < 0.25) & (kind != "nested")
        levels = np.where(gainful, rng.uniform(0.3, 1.2, samples), 0.0)
        self._distractors = most * curve * levels[:, None]
        self._marginal = np.flatnonzero((rng.random(samples) < 0.03) & (kind == "noise"))
        ids = tuple(f"s{i}" for i in range(samples))
        self._place = {name: place for place, name in enumerate(ids)}
        shape = DecoderShape(layers, 512, 8, 8, 64, 1376, 32064)
        self._outcomes: dict[tuple[int, ...], np.ndarray] = {}
        self._kept: dict[Hashable, tuple[int, ...]] = {}
        self._flops: dict[tuple[int, int], int] = {}
        self.subject = Subject(
            name="erring",
            digest="",
            split="calibration",
            ids=ids,
            keys=ids,
            tokens=tuple(SampleTokens(int(n), TEXT) for n in n_vision),
            shape=shape,
            target=None,
            context={},
            greatest=1.0,
            full_pass=Work(sum(prefill_flops(shape, [int(n)] * layers, TEXT) for n in n_vision)),
        )

    def evaluate(self, task: Task) -> Evaluated:
        """Scores of a task."""
        outcome = self._outcome(task.schedule)
        groups: dict[int, list[str]] = {}
        work = Work()
        for name in task.sample_ids:
            groups.setdefault(self.subject.tokens[self._place[name]].n_vision, []).append(name)
        for n_vision, names in groups.items():
            counts = task.schedule.counts(n_vision)
            key = tuple(names)
            kept = self._kept.get(key, ()) if self._reuse else ()
            begin = len(kept) if counts[: len(kept)] == kept else 0
            flops = sum(map(self._layer, counts[begin:]))
            work += Work(flops * len(names), (len(counts) - begin) * len(names))
            self._kept[key] = counts[: min(task.shared, len(counts) - 1)]
        values = [float(outcome[self._place[name]]) for name in task.sample_ids]
        return Evaluated(tuple(map(SampleScore, task.sample_ids, values)), work=work)

    def _layer(self, count: int) -> int:
        """FLOPs of one layer with so many vision tokens."""
        if (count, TEXT) not in self._flops:
            one = replace(self.subject.shape, layers=1)
            self._flops[count, TEXT] = prefill_flops(one, [count], TEXT)
        return self._flops[count, TEXT]

    def _outcome(self, schedule: Schedule) -> np.ndarray:
        own = schedule.counts(self.n_max)
        if own not in self._outcomes:
            table = {n: schedule.counts(n) for n in self.subject.n_visions}
            counts = np.array([table[one.n_vision] for one in self.subject.tokens])
            fits = (counts >= self._needs).all(axis=1)
            removed = (counts < self._distractors).any(axis=1)
            found = np.where(self._right, fits, fits & removed)
            for place in self._marginal:
                if counts[place].min() < self.subject.tokens[place].n_vision:
                    toss = f"{self._seed} {place} {counts[place]}".encode()
                    found[place] = zlib.crc32(toss) >> 7 & 1
            self._outcomes[own] = found
        return self._outcomes[own]


class _Memory:
    """What `Scoring` asks of a store."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Hashable, Evaluation]] = {}

    def check_present(self) -> None:
        """Memory is."""

    def context_id(self, _study: str, digest: str, _context: Mapping[str, Any]) -> str:
        return digest

    def scores(self, context: str, keys: Iterable[Hashable]) -> dict[Hashable, Evaluation]:
        known = self._known.get(context, {})
        return {key: known[key] for key in keys if key in known}

    def add_scores(self, context: str, scores: Mapping[Hashable, Evaluation]) -> int:
        known = self._known.get(context, {})
        self._known[context] = {**scores, **known}
        return len(self._known[context]) - len(known)


def search(target: Erring, history: list[Trial] | None = None, **settings: Any) -> Cost:
    """A G-Search on the target, as a study runs it.

    Args:
        target: What is searched.
        history: Takes the trials.
        settings: Of `GSearch`.
    """
    subject, trials = target.subject, [] if history is None else history
    sampler = GSearch(
        layers=subject.shape.layers,
        n_max=target.n_max,
        n_visions=subject.n_visions,
        **settings,
    )
    executor = LocalExecutor(lambda: target)
    scoring = Scoring("", subject, cast(Store, _Memory()), executor, cuts=sampler.screens)
    measuring = Measuring(scoring, sampler, sampler.concurrent_trials)
    while questions := sampler.ask(trials):
        opened = [
            Trial(number, one.params, one.schedule, TrialState.RUNNING, samples=one.samples)
            for number, one in enumerate(questions, len(trials))
        ]
        trials += opened
        for trial in opened:
            run = measuring.begin(trial, trials, sampler.best(trials), lambda *_: None)
            trials[trial.number] = _measured(run, scoring)
            measuring.closed(trials[trial.number], run.scores)
    best = sampler.best(trials)
    assert best is not None, "keep-all is accepted"
    spent = scoring.work.flops / subject.full_pass.flops
    return Cost(spent, len(trials), best.schedule.counts(target.n_max))


def _measured(run: TrialRun, scoring: Scoring) -> Trial:
    while run.verdict is None:
        task = run.next_task()
        assert task is not None
        scoring.executor.submit(Ticket(run.trial.number, 1, 0), task)
        outcome = scoring.executor.next()
        _, scores = scoring.receive(outcome)
        run.take(outcome.task, scores)
    return run.verdict


# Settings of each search, from the number of samples.
SEARCHES: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "gallop": lambda samples: {"screens": tuple(default_screens(samples))},
    "no-screens": lambda _samples: {},
    "bisection": lambda _samples: {"method": "bisection"},
}


@dataclass(frozen=True)
class Cell:
    """What galloping is compared with bisection on, over some seeds.

    Attributes:
        layers: Of the model.
        full_score: Of the full model.
        kind: Of the model.
        tolerance: Of acceptance.
    """

    layers: int
    full_score: float
    kind: Kind
    tolerance: float


def costs(
    cell: Cell, n_max: int, samples: int, seed: int, reuse: bool, ways: Sequence[str]
) -> dict[str, Cost]:
    """What the searches of one seed cost, by name."""
    return {
        name: search(
            Erring(cell.layers, n_max, samples, cell.full_score, cell.kind, seed, reuse),
            tolerance=cell.tolerance,
            **SEARCHES[name](samples),
        )
        for name in ways
    }


def summary(cell: Cell, found: Sequence[Mapping[str, Cost]]) -> dict[str, Any]:
    """Means over the seeds; ratios are those of the means, `worst` that of a single seed."""
    row: dict[str, Any] = asdict(cell)
    for name in found[0]:
        passes = [one[name].passes for one in found]
        base = [[*one.values()][-1].passes for one in found]
        row[name] = {
            "passes": sum(passes) / len(passes),
            "questions": sum(one[name].questions for one in found) / len(found),
            "ratio": sum(passes) / sum(base),
            "worst": max(a / b for a, b in zip(passes, base, strict=True)),
        }
    return row


def grid(
    cells: Sequence[Cell],
    n_max: int,
    samples: int,
    seeds: int,
    reuse: bool,
    ways: Sequence[str],
    processes: int,
) -> Iterator[dict[str, Any]]:
    """Summaries of all cells, in order; the last of the searches is what ratios refer to."""
    tasks = [(cell, n_max, samples, seed, reuse, ways) for cell in cells for seed in range(seeds)]
    with Pool(processes) as pool:
        answers = pool.imap(_costs, tasks)
        for cell in cells:
            yield summary(cell, [next(answers) for _ in range(seeds)])


def _costs(task: tuple[Any, ...]) -> dict[str, Cost]:
    return costs(*task)


def run(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of `bench/search.py erring`, printed as they come; at last the worst ratios."""
    axes = product(args.full_score, args.kinds, args.depths, args.tolerances)
    cells = [Cell(layers, score, kind, tolerance) for score, kind, layers, tolerance in axes]
    sizes, rows = (args.side**2, args.samples, args.seeds), []
    for row in grid(cells, *sizes, not args.no_reuse, args.searches, args.processes):
        rows.append(row)
        ways = ", ".join(
            f"{name} {row[name]['passes']:.1f} passes, {row[name]['questions']:.0f} questions"
            for name in args.searches
        )
        setting = f"full model {row['full_score']:g}, {row['kind']}, {row['layers']} layers"
        print(f"  {setting}, tolerance {row['tolerance']:g}: {ways}", flush=True)
        yield row
    for name in args.searches[:-1]:
        worst = max(rows, key=lambda row: float(row[name]["ratio"]))
        where = {key: worst[key] for key in ("full_score", "kind", "layers", "tolerance")}
        print(f"  worst of {name}: {worst[name]['ratio']:.2f} at {where}", flush=True)
