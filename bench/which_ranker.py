"""`ranker: auto` beside the search with each of its rankers, on an embedded model.

Every search has a store of its own, so that each pays for its keep-all. Held-out samples say what
a search is worth: its result, and the least FLOPs ratio at the drops that are asked for, among its
undominated trials and the schedules between keep-all and its result that a certificate would test;
that compares searches at equal drop. `auto` comes last and is asked for the held-out drop of every
other result, too: `beside` has the FLOPs ratio of that result, and what `auto` has for that drop.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import record
import torch

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.held_out import HeldOut
from schedsearch.app.open import open_study
from schedsearch.app.rankers import rankers_of
from schedsearch.app.study import Study
from schedsearch.core import intervals
from schedsearch.core.chain import chain
from schedsearch.core.pareto import costs
from schedsearch.core.schedule import RankerSpec, Schedule


def row(
    args: argparse.Namespace, name: str, ranker: str | RankerSpec, drops: Sequence[float]
) -> dict[str, Any]:
    """Search, and say what became of it."""
    samples = open_samples(DataRef(f"{args.model}:calibration", args.samples))
    settings = {"tolerance": args.tolerance, "first": args.first}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_study(
            args.model,
            samples,
            name=name,
            ranker=ranker,
            sampler=settings,
            store=Path(folder) / "s.db",
        ) as study,
    ):
        seconds = study.run().seconds
        best = study.best_trial
        flops, drop = costs(best)
        found = held_out(args, study, drops)
        return {
            "ranker": name,
            "found": study.ranker.words,
            "rungs": [
                {"samples": rung.samples, **{one.words: rung.drops[one] for one in rung.drops}}
                for rung in study.rungs
            ],
            "trials": len(study.trials),
            "passes": study.effort.spent,
            "seconds": seconds,
            "flops": flops,
            "drop": drop,
            **found,
        }


def held_out(args: argparse.Namespace, study: Study, drops: Sequence[float]) -> dict[str, Any]:
    """What the result loses, and what each drop costs, on samples that the search has not seen."""
    bench = HeldOut(study, open_samples(DataRef(f"{args.model}:held-out", args.held_out)), silent)
    full = bench.values("full", bench.subject.full)

    def flops(schedule: Schedule) -> float:
        return study.subject.costs(schedule)[0]

    def loss(schedule: Schedule) -> intervals.Interval:
        return intervals.paired_difference(full, bench.values("schedule", schedule))

    result, most = loss(study.best_trial.schedule), max(drops)
    schedules = [trial.schedule for trial in study.frontier.trials if costs(trial)[1] <= most]
    schedules += chain(study.best_trial.schedule, study.sampler.n_max, args.links)
    at: dict[str, float] = {}
    for schedule in sorted(schedules, key=flops):
        lost = loss(schedule).value
        for drop in drops:
            if lost <= drop:
                at.setdefault(f"{drop:g}", flops(schedule))
        if len(at) == len({f"{drop:g}" for drop in drops}):
            break
    return {"held_out": [result.value, result.low, result.high], "flops_at": at}


def silent(_name: str) -> Callable[[int, int], None]:
    """A progress bar that shows nothing."""
    return lambda _done, _all: None


def main(args: argparse.Namespace) -> None:
    """Search by each, print a line, and write the rows so far."""
    torch.set_num_threads(1)
    several = rankers_of("auto", {}, args.first)
    rows: list[dict[str, Any]] = []
    for one in several:
        keep(args, rows, row(args, one.words, one, args.drops))
    found = {one["ranker"]: (one["held_out"][0], one["flops"]) for one in rows}
    auto = row(args, "auto", "auto", [*args.drops, *(drop for drop, _ in found.values())])
    at = auto["flops_at"]
    auto["beside"] = {name: (own, at.get(f"{drop:g}")) for name, (drop, own) in found.items()}
    keep(args, rows, auto)


def keep(args: argparse.Namespace, rows: list[dict[str, Any]], one: dict[str, Any]) -> None:
    """Add a row, print it, and write all so far."""
    rows.append(one)
    print(one, flush=True)  # noqa: T201
    record.write(args, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--device", default="cpu", choices=["cpu"])
    parser.add_argument("-n", "--samples", type=int, default=300)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--drops", type=float, nargs="+", default=[0.01, 0.02, 0.03])
    parser.add_argument("--links", type=int, default=16, help="of the chain to the result")
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
