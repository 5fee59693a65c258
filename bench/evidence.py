"""What holds on a model of what the paper claims: one JSON per model, for docs/evidence.md.

    schedsearch search studies/demo.yaml --store demo-out/studies.db
    schedsearch export demo demo-out/demo.json --store demo-out/studies.db
    python bench/evidence.py demo --schedule demo-out/demo.json --out evidence-demo.json

Rankings of layers, and where vision is needed: on calibration samples. Rankers at the counts of the
found schedule, and curves of other models at its FLOPs: on held-out samples, paired with the full
model; 95 % intervals.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from schedsearch.app.analyze import analyze_model
from schedsearch.app.bootstrap import DataRef, open_model, open_samples
from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.nearest import nearest
from schedsearch.core.families.published import CURVES
from schedsearch.core.families.sigmoid import Logistic, Sigmoid
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.flops import flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Task
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.adapters import adapter_for

RANKERS = ("last", "text", "local", "tower", "diverse", "uniform", "random")


def claims(name: str, found: Schedule, samples: int, seen: int, first: int) -> dict[str, Any]:
    """Everything that is measured on one model."""
    model, processor = open_model(name)
    data = open_samples(DataRef(f"{name}:held-out", samples))
    evaluator = Evaluator(model, processor, data, make_metric("exact_match"))
    shape, tokens = adapter_for(model).shape(model), evaluator.sample_tokens()
    ids = tuple(sample.id for sample in data)

    def scores(schedule: Schedule) -> list[float]:
        return [one.score for one in evaluator.evaluate(Task(schedule, "held-out", ids))]

    full = scores(Schedule.full(shape.layers))

    def measured(schedule: Schedule) -> dict[str, Any]:
        own = scores(schedule)
        return {
            "flops": flops_ratio(shape, schedule, tokens),
            "score": asdict(intervals.of_scores(own)),
            "drop": asdict(intervals.paired_difference(full, own)),
        }

    budget = Budget("flops", flops_ratio(shape, found, tokens))
    families = {"sigmoid": Sigmoid(first), "logistic": Logistic(first), "linear": Linear(first)}
    fits = {}
    for family_name, family in families.items():
        point = nearest(family, found.keep, shape, tokens)
        curve = family.schedule(point, budget, shape, tokens, found.ranker).keep
        fits[family_name] = {"params": point, "mean_error": distance(curve, found.keep)}
    curves = {
        "its own": found.keep,
        **{one.model: one.stretched(shape.layers, first) for one in CURVES},
    }
    return {
        "model": name,
        "samples": samples,
        "ranker": str(found.ranker),
        "full": asdict(intervals.of_scores(full)),
        "found": measured(found),
        "fit": fits,
        "rankers": {
            ranker: measured(Schedule(found.keep, RankerSpec(ranker))) for ranker in RANKERS
        },
        "uniform ratio": measured(Uniform(first).schedule({}, budget, shape, tokens, found.ranker)),
        "curves at its FLOPs": {
            curve_name: measured(
                Layerwise(first).schedule(
                    {f"keep_{layer}": curve[layer] for layer in range(first, shape.layers)},
                    budget,
                    shape,
                    tokens,
                    found.ranker,
                )
            )
            for curve_name, curve in curves.items()
        },
        "calibration": looked_at(name, seen),
    }


def looked_at(name: str, samples: int) -> dict[str, Any]:
    """Agreement of layers, and where vision is needed."""
    found = analyze_model(
        name, DataRef(f"{name}:calibration", samples), schedules=0, progress=lambda _name: quiet
    )
    layers = range(1, found.layers)
    pairs = [found.attention.tau[i][j].value for i in layers for j in layers if i < j]
    return {
        "samples": samples,
        "tau, neighbours": found.tau_neighbours,
        "tau, all pairs": fmean(pairs),
        "tau, least and most": (min(pairs), max(pairs)),
        "tau, random": asdict(found.attention.random_tau),
        "withdrawn from layer": {
            one.layer: {"score": asdict(one.score), "random": asdict(one.random)}
            for one in found.withdrawals
        },
    }


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Mean absolute difference over the layers."""
    return fmean(abs(a - b) for a, b in zip(one, other, strict=True))


def quiet(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--schedule", type=Path, required=True, help="what G-Search found")
    parser.add_argument("-n", "--samples", type=int, default=500, help="held-out")
    parser.add_argument("--seen", type=int, default=100, help="calibration samples")
    parser.add_argument("--first", type=int, default=1, help="first layer that may remove tokens")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = Schedule.load(options.schedule)
    result = claims(options.model, found, options.samples, options.seen, options.first)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
