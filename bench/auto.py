"""`auto` beside G-Search: what more trials around the curve find, and what of it can be proven.

    python bench/auto.py --out bench/results/auto.json

Both searches of a model are studies of one store, so `auto` finds the answers of G-Search there:
its own passes, without the single cuts, which are measured again, are what it adds. Samples,
ranker, `first` and tolerance are those of the study files. Held-out drops are paired, with their
95 % interval.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from additive import Problem, embedded
from record import write

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.core.certificate import Certification
from schedsearch.core.intervals import Interval
from schedsearch.core.schedule import Schedule

SEARCHES: dict[str, dict[str, Any]] = {
    "g-search": {"guess": "additive"},
    "auto": {"sampler": "auto"},
}


def measured(problem: Problem, certify: int, report: Callable[[dict[str, Any]], None]) -> None:
    """Search, then prove, with both."""
    samples = open_samples(DataRef(f"{problem.name}:certify", certify), "certify")
    lost: dict[tuple[float, ...], Interval] = {}

    def held_out(schedule: Schedule) -> dict[str, Any]:
        if schedule.keep not in lost:
            lost[schedule.keep] = problem.held_out_drop(schedule)
        return asdict(lost[schedule.keep])

    with tempfile.TemporaryDirectory() as folder:
        for label, settings in SEARCHES.items():
            began = time.process_time()
            search = {"tolerance": problem.tolerance, "first": problem.first, **settings}
            place = Path(folder) / "store.db"
            with problem.open_study(sampler=search, name=label, store=place) as study:
                study.run()
                best, seconds = study.best_trial, time.process_time() - began
                assert best.measurement is not None
                row: dict[str, Any] = {
                    "problem": problem.name,
                    "search": label,
                    "passes": study.effort.spent,
                    "single_cuts": study.spec.spent,
                    "trials": len(study.trials),
                    "beyond": sum("pass" not in one.params for one in study.trials),
                    "seconds": seconds,
                    "flops_ratio": best.measurement.flops_ratio,
                    "drop": best.measurement.drop,
                    "counts": best.schedule.counts(study.sampler.n_max),
                    "asked": [
                        [one.schedule.counts(study.sampler.n_max), str(one.state)]
                        for one in study.trials
                    ],
                }
                row |= proven(study.certify(samples, 0.01))
                row["held_out"] = held_out(best.schedule)
            print({**row, "asked": None}, flush=True)
            report(row)


def proven(found: Certification) -> dict[str, Any]:
    """What came of a certification."""
    best = found.best
    drop = found.found.drop
    return {
        "certify_samples": found.n,
        "certify_drop": None if drop is None else asdict(drop),
        "certified": None if best is None else best.flops_ratio,
        "links": [[link.what, link.flops_ratio, link.p_value] for link in found.links],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["demo", "demo-deep"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--certify", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--tolerance", type=float, default=0.003)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def report(row: dict[str, Any]) -> None:
        rows.append(row)
        write(args, rows)

    for name in args.models:
        problem = embedded(name, args.samples, args.held_out, args.tolerance)
        measured(problem, args.certify, report)


if __name__ == "__main__":
    main()
