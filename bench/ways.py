"""How a G-Search should read its samples: what is certified of its result, on embedded models.

    python bench/ways.py --out bench/results/ways.json

The ways that won on the models of truth.py (`believe.py ways`), with samples that are drawn anew
for every row: some for the search, others for the certificate, others that say what is true.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any, cast

from additive import Problem, embedded
from record import write

from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.demo.shapesvqa import ShapesVQA

WAYS: Mapping[str, Mapping[str, Any]] = {
    "as before": {},
    "as before, strict": {"stricter": 0.3},
    "spread": {"spread": True},
    "spread, noise 1.645": {"spread": True, "noise": 1.645},
    "spread, noise 1.645, strict": {"spread": True, "noise": 1.645, "stricter": 0.3},
}
"""Settings of the search; `stricter`: its tolerance, as a share of what is to be certified."""


def drawn(model: str, split: str, samples: int, draw: int) -> ShapesVQA:
    """Samples that no other draw has."""
    return replace(
        cast(ShapesVQA, open_samples(DataRef(f"{model}:{split}", samples))), seed=draw + 1
    )


def row(args: argparse.Namespace, problem: Problem, way: str, draw: int) -> dict[str, Any]:
    """Search, prove, and look what is true."""
    way_settings = dict(WAYS[way])
    tolerance = way_settings.pop("stricter", 1) * args.tolerance
    search = {"tolerance": tolerance, "first": problem.first, **way_settings}
    certify = drawn(problem.name, "certify", args.certify, draw)
    with (
        tempfile.TemporaryDirectory() as folder,
        problem.open_study(
            calibration=drawn(problem.name, "calibration", args.samples, draw),
            sampler=search,
            store=Path(folder) / "s.db",
        ) as study,
    ):
        study.run()
        found = study.best_trial
        proof = study.certify(certify, args.tolerance)
        assert found.measurement is not None and proof.found.drop is not None
        proven = proof.best
        return {
            "model": problem.name,
            "way": way,
            "draw": draw,
            "trials": len(study.trials),
            "passes": study.effort.spent,
            "found": found.measurement.flops_ratio,
            "believed": found.measurement.drop,
            "unseen": asdict(proof.found.drop),
            "true": asdict(problem.held_out_drop(found.schedule)),
            "certified": 1.0 if proven is None else proven.flops_ratio,
            "certified_true": 0.0
            if proven is None
            else problem.held_out_drop(proven.schedule).value,
        }


def table(rows: list[dict[str, Any]]) -> None:
    """Print means by model and way."""
    keys = ("certified", "found", "believed", "true", "certified_true", "passes")
    print("| model | way | " + " | ".join(keys) + " |")
    for model, way in dict.fromkeys((one["model"], one["way"]) for one in rows):
        some = [one for one in rows if (one["model"], one["way"]) == (model, way)]
        values = [
            mean(one[key]["value"] if key == "true" else one[key] for one in some) for key in keys
        ]
        print(f"| {model} | {way} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["demo", "demo-deep"])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--certify", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in args.models:
        # Its own calibration set is not read: every draw has another.
        problem = embedded(name, args.samples, args.held_out, args.tolerance)
        for draw in range(args.draws):
            for way in args.ways:
                rows.append(row(args, problem, way, draw))
                print(rows[-1], flush=True)
                write(args, rows)
    table(rows)


if __name__ == "__main__":
    main()
