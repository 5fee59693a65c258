"""`auto` beside G-Search: what more trials around the curve find, and what of it can be proven.

    python bench/auto.py --out bench/results/auto.json

Both searches of a model are studies of one store, so `auto` finds the answers of G-Search there:
its own passes, without the single cuts, which are measured again, are what it adds. Samples,
ranker, `first` and tolerance are those of the study files. Held-out drops are paired, with their
95 % interval.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from additive import Problem, embedded
from record import write

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.chain import chain
from schedsearch.app.study import Study
from schedsearch.core.certificate import Certification

SEARCHES: dict[str, dict[str, Any]] = {
    "g-search": {"guess": "additive"},
    "auto": {"sampler": "auto"},
}


def measured(problem: Problem, certify: int, folder: Path) -> list[dict[str, Any]]:
    """Search with both, then prove what each has found; what is the same is looked at once."""
    rows = [searched(problem, label, folder) for label in SEARCHES]
    samples = open_samples(DataRef(f"{problem.name}:certify", certify), "certify")
    known: dict[tuple[tuple[float, ...], ...], dict[str, Any]] = {}
    for row in rows:
        with opened(problem, row["search"], folder) as study:
            key = tuple(link.schedule.keep for link in chain(study, study.subject))
            if key not in known:
                known[key] = proven(study.certify(samples, 0.01))
                known[key]["held_out"] = asdict(problem.held_out_drop(study.best))
            row |= known[key]
        print({**row, "asked": None}, flush=True)
    return rows


def opened(problem: Problem, label: str, folder: Path) -> Study:
    """The study of a search, in a store that both share."""
    search = {"tolerance": problem.tolerance, "first": problem.first, **SEARCHES[label]}
    return problem.open_study(sampler=search, name=label, store=folder / f"{problem.name}.db")


def searched(problem: Problem, label: str, folder: Path) -> dict[str, Any]:
    """One search: what it has cost, and what it found."""
    with opened(problem, label, folder) as study:
        study.run()
        best = study.best_trial
        assert best.measurement is not None
        n_max = study.sampler.n_max
        row = {
            "problem": problem.name,
            "search": label,
            "passes": study.effort.spent,
            "single_cuts": study.spec.spent,
            "trials": len(study.trials),
            "beyond": sum("pass" not in one.params for one in study.trials),
            "flops_ratio": best.measurement.flops_ratio,
            "drop": best.measurement.drop,
            "counts": best.schedule.counts(n_max),
            "asked": [[one.schedule.counts(n_max), str(one.state)] for one in study.trials],
        }
    print({**row, "asked": None}, flush=True)
    return row


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
    parser.add_argument("--folder", help="of the stores; a run that was cut off goes on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        for name in args.models:
            problem = embedded(name, args.samples, args.held_out, args.tolerance)
            rows += measured(problem, args.certify, Path(args.folder or made))
            write(args, rows)


if __name__ == "__main__":
    main()
