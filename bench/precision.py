r"""Accuracy in float32 and in bfloat16, on the same held-out samples, full and reduced.

    python bench/precision.py smollm2 --schedule smollm2.json \
        --out bench/results/precision-smollm2.json

The difference is paired: float32 minus bfloat16, with a 95 % interval. Rows are written as soon as
they are known.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import record

from schedsearch.app.bootstrap import DataRef, open_model, open_samples
from schedsearch.core import intervals
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--schedule", required=True, help="what a search found")
    parser.add_argument("-n", "--samples", type=int, default=100, help="held-out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = Schedule.load(args.schedule)
    schedules = {"full": Schedule.full(found.layers), "found": found}
    data = open_samples(DataRef(f"{args.model}:held-out", args.samples))
    ids = tuple(sample.id for sample in data)
    scores: dict[tuple[str, str], list[float]] = {}
    rows: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        model, processor = open_model(args.model, dtype=precision, device=args.device)
        evaluator = Evaluator(model, processor, data, make_metric("exact_match"))
        for name, schedule in schedules.items():
            began = time.perf_counter()
            own = [one.score for one in evaluator.evaluate(Task(schedule, "held-out", ids))]
            seconds = time.perf_counter() - began
            scores[name, precision] = own
            single = scores[name, "float32"]
            rows.append(
                {
                    "schedule": name,
                    "precision": precision,
                    "score": asdict(intervals.of_scores(own)),
                    "float32 minus it": asdict(intervals.paired_difference(single, own)),
                    "changed answers": sum(a != b for a, b in zip(single, own, strict=True)),
                    "seconds": seconds,
                }
            )
            record.write(args, rows)
            print(rows[-1])


if __name__ == "__main__":
    main()
