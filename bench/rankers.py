"""Rankers side by side on an embedded model: one ratio for all layers, at the same FLOPs.

Rankers that read attention remove tokens before layer 1 at the earliest, the others before
layer 0 too. Held-out samples, exact match, teacher-forced.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from schedsearch.app.bootstrap import open_model
from schedsearch.core.budget import Budget
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.flops import flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Task
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction.rankers import RANKERS, make_ranker

SPECS = [*map(RankerSpec, RANKERS), RankerSpec.from_mapping("local", {"rows": "last"})]


@dataclass(frozen=True)
class Row:
    """What a ranker reaches.

    Attributes:
        ranker: Its name, with parameters that are not the defaults.
        first: First layer before which tokens are dropped.
        flops: FLOPs ratio.
        kept: Vision tokens from `first` on, of those there are.
        score: Mean over the samples; `error` is its standard error.
    """

    ranker: str
    first: int
    flops: float
    kept: int
    score: float
    error: float


def main(arguments: argparse.Namespace) -> None:
    """Evaluate, print the table, and write it where asked."""
    torch.set_num_threads(1)
    model, processor = open_model(arguments.model)
    samples = ShapesVQA("held-out", arguments.samples)
    evaluator = Evaluator(model, processor, samples, make_metric("exact_match"))
    shape, tokens = adapter_for(model).shape(model), evaluator.sample_tokens()
    ids = tuple(sample.id for sample in samples)
    n_max = max(one.n_vision for one in tokens)

    def row(schedule: Schedule, first: int) -> Row:
        scores = torch.tensor(
            [one.score for one in evaluator.evaluate(Task(schedule, "held-out", ids))]
        )
        return Row(
            ranker=" ".join(
                [schedule.ranker.name, *(str(value) for _, value in schedule.ranker.params)]
            ),
            first=first,
            flops=flops_ratio(shape, schedule, tokens),
            kept=schedule.counts(n_max)[-1],
            score=scores.mean().item(),
            error=(scores.std() / len(scores) ** 0.5).item(),
        )

    rows = [row(Schedule.full(shape.layers), 0)]
    for budget in arguments.flops:
        for first in (1, 0):
            for spec in SPECS:
                if first == 0 and make_ranker(spec).reads_attention:
                    continue
                schedule = Uniform(first).schedule({}, Budget("flops", budget), shape, tokens, spec)
                rows.append(row(schedule, first))
    for one in rows:
        print(  # noqa: T201
            f"{one.ranker:10} from layer {one.first}: FLOPs {one.flops:.3f}, {one.kept:3} of "
            f"{n_max} tokens, {one.score:.3f} +- {one.error:.3f}"
        )
    if arguments.out:
        result = {"model": arguments.model, "samples": len(ids), "rows": [*map(asdict, rows)]}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("-n", "--samples", type=int, default=300)
    parser.add_argument("--flops", type=float, nargs="+", default=[0.7, 0.5])
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
