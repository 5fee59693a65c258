"""Whether Bayesian optimisation is worth its cost, on the real objective of the embedded models.

`tabulate` measures many schedules of the sigmoid family once, on calibration samples: two thirds
come from a Sobol sequence over the family's points, the rest from around the best of those found.
Every point has an answer: the mean of those tabulated, weighted by how near they are in counts.

`compare` lets samplers search the tables, one question at a time and no trial stopped, and counts
the evaluations until one has reached a target: 99 % of the best score known, or a share of what
there is to gain by searching, from the median score of random points of the family to the best.
"""

import argparse
import json
import math
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import botorch
import numpy as np
import optuna
import torch

from schedsearch.core.budget import Budget
from schedsearch.core.families import FAMILIES
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio, kv_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Measurement, SampleScore, Trial, TrialState
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.budgeted import Budgeted
from schedsearch.samplers.known import Point
from schedsearch.samplers.optuna_sampler import OptunaSampler
from schedsearch.samplers.random_search import RandomSearch
from schedsearch.samplers.sampler import Question
from schedsearch.samplers.surrogate import point_at, shares_of, sobol

RESULTS = Path(__file__).parent / "results"

# Settings were chosen on those not held back; the others were looked at once, afterwards.
OBJECTIVES = {
    "demo-25-exact-match": ("demo", 0.25, "exact_match"),
    "demo-50-log-likelihood": ("demo", 0.5, "log_likelihood"),
    "demo-10-last-state-cosine": ("demo", 0.1, "last_state_cosine"),
    "demo-deep-25-exact-match": ("demo-deep", 0.25, "exact_match"),
    "demo-15-kl-divergence": ("demo", 0.15, "kl_divergence"),
    "demo-deep-15-answer-match": ("demo-deep", 0.15, "answer_match"),
}
HELD_BACK = ("demo-15-kl-divergence", "demo-deep-15-answer-match")

AROUND, SPREAD = 10, 0.05

# A tabulated schedule counts 1/e of another that keeps one token of 32 less far away, summed over
# layers. About ten count; that evens out what differs by the chance of a few samples.
NEAR = 1 / 32

# With the most evaluations of a run.
SAMPLERS: dict[str, tuple[Callable[..., Budgeted], int]] = {
    "bayes": (Bayes, 50),
    "optuna gp": (lambda **settings: OptunaSampler(method="gp", **settings), 50),
    "random": (RandomSearch, 240),
}

SHARES = (0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Table:
    """An objective, measured once.

    Attributes:
        problem: What samplers are told: family, budget, shape, tokens, ranker.
        full: Keep-all's score.
        nothing: Score where no layer that may be reduced keeps any vision token.
        counts: The schedules, shape (schedules, layers).
        drops: Of each, against keep-all, shape (schedules,).
        errors: Standard errors of these, over the samples, shape (schedules,).
    """

    problem: dict[str, Any]
    full: float
    nothing: float
    counts: np.ndarray
    drops: np.ndarray
    errors: np.ndarray

    @classmethod
    def read(cls, name: str) -> "Table":
        """Return the table of an objective."""
        found = json.loads(path_of(name).read_text())
        model, amount, _ = OBJECTIVES[name]
        ranker = RankerSpec.from_mapping(*found["ranker"])
        tokens = tuple(SampleTokens(*each) for each in found["tokens"])
        return cls(
            {
                "family": FAMILIES["sigmoid"](first=found["first"]),
                "budget": Budget("feasible", amount),
                "shape": DecoderShape(**found["shape"]),
                "tokens": tokens,
                "ranker": ranker,
            },
            found["full"],
            found["nothing"],
            *(np.array(found[what]) for what in ("counts", "drops", "errors")),
        )

    def measured(self, schedule: Schedule) -> Measurement:
        """Return what is answered for a schedule."""
        shape, tokens = self.problem["shape"], self.problem["tokens"]
        drop, error = self.answer(schedule.counts(self.n_max))
        return Measurement(
            self.full - drop,
            None,
            len(tokens),
            flops_ratio(shape, schedule, tokens),
            kv_ratio(shape, schedule, tokens),
            drop,
            error,
        )

    def answer(self, counts: Sequence[int]) -> tuple[float, float]:
        """Return the drop at some counts and its standard error."""
        apart = np.abs(self.counts - counts).sum(1) / self.n_max
        weights = np.exp((apart.min() - apart) / NEAR)
        weights /= weights.sum()
        return float(weights @ self.drops), float(weights @ self.errors)

    @property
    def n_max(self) -> int:
        """Vision tokens of a sample."""
        return self.problem["tokens"][0].n_vision

    def best(self) -> float:
        """Return the least drop that is answered for any tabulated schedule."""
        return min(self.answer(counts)[0] for counts in self.counts)

    def typical(self) -> float:
        """Return the median drop of 1000 random points of the family."""
        rest = dict(self.problem)
        family, rng = rest.pop("family"), random.Random(0)
        space = family.space(rest["shape"].layers)
        shares = ([rng.random() for _ in space.parameters] for _ in range(1000))
        schedules = (family.schedule(point_at(space, each), **rest) for each in shares)
        found = (schedule.counts(self.n_max) for schedule in schedules)
        return statistics.median(self.answer(counts)[0] for counts in found)


def path_of(name: str) -> Path:
    return RESULTS / f"bayes-table-{name}.json"


def tabulate(name: str, samples: int, schedules: int) -> None:
    """Measure an objective and write its table."""
    from search import embedded_problem

    from schedsearch.models.adapters import adapter_for

    model, amount, metric = OBJECTIVES[name]
    found = embedded_problem(model, samples, None, metric)
    shape = adapter_for(found.evaluator.model).shape(found.evaluator.model)
    tokens = tuple(found.evaluator.sample_tokens(found.ids))
    family, budget = FAMILIES["sigmoid"](first=found.first), Budget("feasible", amount)
    space = family.space(shape.layers)

    def scores(counts: Sequence[int], shared: int = 0) -> list[SampleScore]:
        return list(found.evaluate(found.task(counts, found.ids, shared)))

    began = time.monotonic()
    full = scores([found.n_max] * shape.layers)
    least = [found.n_max] * found.first + [0] * (shape.layers - found.first)
    nothing = Measurement.of(scores(least), 0.0, 0.0, full)
    table: dict[tuple[int, ...], tuple[Point, Measurement]] = {}

    def add(points: Iterator[Point], most: int) -> None:
        """Measure the schedules of points until there are so many."""
        new: dict[tuple[int, ...], Point] = {}
        for point in points:
            schedule = family.schedule(point, budget, shape, tokens, found.ranker)
            counts = schedule.counts(found.n_max)
            if counts not in table:
                new.setdefault(counts, point)
            if len(table) + len(new) == most:
                break
        order = sorted(new)
        for counts, following in zip(order, [*order[1:], order[-1]], strict=True):
            pairs = enumerate(zip(counts, following, strict=True))
            shared = next((layer for layer, (own, after) in pairs if own != after), 0)
            measured = Measurement.of(scores(counts, shared), 0.0, 0.0, full)
            table[counts] = new[counts], measured

    add(iter(sobol(space, 0, 0, 50 * schedules)), 2 * schedules // 3)
    rng = random.Random(0)
    for part in (5 * schedules // 6, schedules):
        rows = sorted(table.values(), key=lambda row: -row[1].score)[:AROUND]
        best = [shares_of(space, point) for point, _ in rows]
        near = (
            point_at(space, [rng.gauss(share, SPREAD) for share in rng.choice(best)])
            for _ in range(10 * schedules)
        )
        add(near, part)
    order = sorted(table)
    seconds = time.monotonic() - began
    measured = [table[counts][1] for counts in order]
    body = {
        "objective": {"model": model, "feasible": amount, "metric": metric, "samples": samples},
        "command": f"bench/bayes.py tabulate {name} --samples {samples} --schedules {schedules}",
        **machine(),
        "seconds": round(seconds, 1),
        "first": found.first,
        "ranker": [found.ranker.name, dict(found.ranker.params)],
        "shape": asdict(shape),
        "full": statistics.fmean(one.score for one in full),
        "nothing": nothing.score,
        "tokens": [[one.n_vision, one.n_text] for one in tokens],
        "counts": order,
        "drops": [round(one.drop, 9) for one in measured],
        "errors": [round(one.drop_standard_error, 9) for one in measured],
    }
    path_of(name).write_text(json.dumps(body) + "\n")
    print(f"{name}: {len(order)} schedules, {samples} samples, {seconds:.0f} s", flush=True)


def complete(table: Table, history: Sequence[Trial], asked: Question) -> Trial:
    """Return the next trial, measured."""
    measured = table.measured(asked.schedule)
    return Trial(len(history), asked.params, asked.schedule, TrialState.COMPLETE, measured)


def search(table: Table, sampler: Budgeted, target: float) -> tuple[list[float], float]:
    """Return the drops of all trials until one is at the target, and CPU seconds of asking."""
    history: list[Trial] = []
    drops: list[float] = []
    seconds = 0.0
    while not drops or min(drops) > target:
        began = time.process_time()
        questions = sampler.ask(history)
        seconds += time.process_time() - began
        if not questions:
            break
        history.append(complete(table, history, questions[0]))
        drops.append(drop_of(history[-1]))
    return drops, seconds


def drop_of(trial: Trial) -> float:
    assert trial.measurement is not None and trial.measurement.drop is not None
    return trial.measurement.drop


def asking(table: Table, make: Callable[..., Budgeted]) -> float:
    """Return the CPU seconds of one question at 200 trials of which 4 are open; median of 5."""
    history: list[Trial] = []
    baseline = RandomSearch(**table.problem, trials=200)
    while len(history) < 200:
        history.append(complete(table, history, baseline.ask(history)[0]))
    for each in history[-4:]:
        history[each.number] = replace(each, state=TrialState.RUNNING, measurement=None)
    seconds = []
    for seed in range(5):
        sampler = make(**table.problem, seed=seed, trials=201, concurrent_trials=5)
        began = time.process_time()
        assert len(sampler.ask(history)) == 1
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def compare(
    name: str, seeds: int, samplers: Sequence[str], longest: int | None = None
) -> dict[str, Any]:
    """Let samplers search a table; return how many evaluations the target has taken them."""
    table = Table.read(name)
    best, typical = table.best(), table.typical()
    held_back = name in HELD_BACK
    row: dict[str, Any] = {
        "objective": name,
        "held_back": held_back,
        "keep_all": table.full,
        "keep_nothing": table.nothing,
        "best": table.full - best,
        "random_point": table.full - typical,
        "samplers": {},
    }
    print(
        f"{name}{', held back' if held_back else ''}: best {row['best']:.4f}, median random point "
        f"{row['random_point']:.4f}",
        flush=True,
    )
    for own in samplers:
        make, most = SAMPLERS[own]
        most = longest or most
        limits = {share: typical - share * (typical - best) for share in SHARES}
        runs = [
            search(table, make(**table.problem, seed=seed, trials=most), limits[max(SHARES)])
            for seed in range(seeds)
        ]
        found: dict[str, Any] = {"most": most}
        for share, limit in limits.items():
            found[f"{share:.0%} of the gain"] = taken([drops for drops, _ in runs], limit)
        if row["best"] > 0:
            limit = table.full - 0.99 * row["best"]
            found["99% of the score"] = taken([drops for drops, _ in runs], limit)
        found["gain"] = [(typical - min(drops)) / (typical - best) for drops, _ in runs]
        found["seconds_a_question"] = sum(s for _, s in runs) / sum(len(d) for d, _ in runs)
        found["seconds_at_200_trials"] = asking(table, make)
        row["samplers"][own] = found
        shown = {what: each["quartiles"] for what, each in found.items() if "of the" in what}
        gain = statistics.median(found["gain"])
        print(f"  {own}, at most {most}: {shown}, median gain {gain:.1%}, ", end="")
        print(f"asks in {found['seconds_at_200_trials']:.2f} s at 200 trials", flush=True)
    return row


def taken(runs: Sequence[Sequence[float]], limit: float) -> dict[str, Any]:
    """Return the evaluations until the limit, of each run and in quartiles; None where never."""
    found = [first(drops, limit) for drops in runs]
    return {"evaluations": found, "quartiles": quartiles(found)}


def first(drops: Sequence[float], limit: float) -> int | None:
    """Return the number of the evaluation that reached the limit, from 1."""
    near = limit + 1e-12
    return next((i for i, drop in enumerate(drops, start=1) if drop <= near), None)


def quartiles(taken: Sequence[int | None]) -> list[float | None]:
    """Return lower quartile, median and upper quartile; None where too many runs have failed."""
    known = sorted(math.inf if each is None else each for each in taken)
    found: list[float | None] = []
    for share in (0.25, 0.5, 0.75):
        at = share * (len(known) - 1)
        low, high = known[math.floor(at)], known[math.ceil(at)]
        value = low if low == high else low + (high - low) * (at % 1)
        found.append(value if value < math.inf else None)
    return found


def machine() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "botorch": botorch.__version__,
        "optuna": optuna.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    tabulating = parts.add_parser("tabulate")
    tabulating.add_argument("name", choices=OBJECTIVES)
    tabulating.add_argument("--samples", type=int, default=200)
    tabulating.add_argument("--schedules", type=int, default=900)
    comparing = parts.add_parser("compare")
    comparing.add_argument("--names", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    comparing.add_argument("--seeds", type=int, default=20)
    comparing.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    comparing.add_argument("--most", type=int, help="evaluations of a run, for all of them")
    comparing.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.part == "tabulate":
        tabulate(args.name, args.samples, args.schedules)
        return
    rows = [compare(name, args.seeds, args.samplers, args.most) for name in args.names]
    if args.out:
        settings = {"seeds": args.seeds, "command": "bench/bayes.py compare"}
        args.out.write_text(json.dumps({**settings, **machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
