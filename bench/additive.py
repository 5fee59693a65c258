"""What single cuts are worth: `additive` and starts by it beside G-Search and BO, at equal FLOPs.

    python bench/additive.py embedded --out additive-embedded.json
    python bench/additive.py random --out additive-random.json
    python bench/additive.py 7b --out additive-7b-cpu.json

G-Search says at which FLOPs it ends without losing more than the tolerance; `additive` and `bayes`
then get these FLOPs as their budget, so that what is lost on held-out samples compares. Seconds are
those of the processor, model and data included. On random models the forwards are real and the
scores synthetic, as in search.py; there a cut's loss is the share of answers lost.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from published import published
from record import write
from search import ASSUMED_FLOPS_PER_SECOND, LLAVA_7B, Synthetic, llava_7b

from schedsearch.app.bootstrap import DataRef, open_model, open_samples
from schedsearch.app.open import open_study
from schedsearch.app.study import Study
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_cost, prefill_flops
from schedsearch.core.intervals import Interval, paired_difference
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Evaluated, SampleScore, Task, Work
from schedsearch.demo.model import PATCH, build_model
from schedsearch.demo.processor import build_processor
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.evaluation.worker import ModelWorker
from schedsearch.execution.executors.local import LocalExecutor
from schedsearch.samplers.single_cuts import SAMPLES, SHARES, single_cuts

WINDOWS = {"demo": 2, "demo-deep": 3}


@dataclass(frozen=True)
class Problem:
    """What is searched, and what a schedule loses on samples that no search sees."""

    name: str
    open_study: Callable[..., Study]
    held_out_drop: Callable[[Schedule], Interval]
    first: int
    tolerance: float


def searched(problem: Problem, label: str, **settings: Any) -> dict[str, Any]:
    """One search with its own store: what it has cost, and what it found."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"first": problem.first, **settings}
        store = Path(folder) / "store.db"
        with problem.open_study(sampler=settings, store=store) as study:
            study.run()
            seconds, best = time.process_time() - began, study.best_trial
            assert best.measurement is not None
            row = {
                "problem": problem.name,
                "search": label,
                "passes": study.effort.spent,
                "single_cuts": study.spec.spent,
                "trials": len(study.trials),
                "seconds": seconds,
                "flops_ratio": best.measurement.flops_ratio,
                "drop": best.measurement.drop,
                "held_out": asdict(problem.held_out_drop(best.schedule)),
                "counts": best.schedule.counts(study.sampler.n_max),
            }
    held = row["held_out"]
    print(
        f"  {label}: {row['passes']:.1f} passes ({row['single_cuts']:.1f} single cuts), "
        f"{seconds:.0f} s, FLOPs {row['flops_ratio']:.3f}, drop {row['drop']:.4f}, "
        f"held-out {held['value']:.4f} [{held['low']:.4f}, {held['high']:.4f}]",
        flush=True,
    )
    return row


def compared(problem: Problem, trials: int) -> list[dict[str, Any]]:
    """All searches of one problem."""
    print(problem.name, flush=True)
    tolerance = problem.tolerance
    plain = searched(problem, "g-search", tolerance=tolerance)
    budget = {"flops": plain["flops_ratio"]}
    bayes = {"sampler": "bayes", "budget": budget, "trials": trials}
    others: Mapping[str, Mapping[str, Any]] = {
        "g-search, guess: additive": {"tolerance": tolerance, "guess": "additive"},
        "additive, max_drop": {"sampler": "additive", "max_drop": tolerance},
        "additive, budget": {"sampler": "additive", "budget": budget},
        "bayes": bayes,
        "bayes, warm_start: additive": {**bayes, "warm_start": ["additive"]},
    }
    return [plain, *(searched(problem, label, **settings) for label, settings in others.items())]


def embedded(name: str, samples: int, held_out: int, tolerance: float) -> Problem:
    """An embedded model on its own task, ranked as its study file says."""
    ranker = RankerSpec.from_mapping("local", {"window": WINDOWS[name], "rows": "last"})
    model, processor = open_model(name)
    apart = open_samples(DataRef(f"{name}:held-out", held_out), "held-out")
    evaluator = Evaluator(model, processor, apart, make_metric("exact_match"))
    ids = tuple(sample.id for sample in apart)

    def scores(schedule: Schedule) -> list[float]:
        return [one.score for one in evaluator.evaluate(Task(schedule, "held-out", ids))]

    full = scores(Schedule.full(len(model.get_decoder().layers)))
    calibration = open_samples(DataRef(f"{name}:calibration", samples), "calibration")
    return Problem(
        name,
        partial(open_study, name, calibration=calibration, ranker=ranker),
        lambda schedule: paired_difference(full, scores(schedule)),
        1,
        tolerance,
    )


@dataclass(frozen=True)
class Scored:
    """A worker whose forwards are real, and whose scores are those of a synthetic target."""

    worker: ModelWorker
    target: Callable[[Task], Sequence[SampleScore]]

    def evaluate(self, task: Task) -> Evaluated:
        """Run the task; score by what its samples need."""
        return replace(self.worker.evaluate(task), scores=tuple(self.target(task)))

    def means(
        self,
        metric: str,
        split: Any,
        schedules: Sequence[Schedule],
        samples: int,
        on_progress: Any = None,
    ) -> tuple[list[float], Work]:
        """Run the schedules; their mean divergence is the share of answers lost."""
        _, work = self.worker.means(metric, split, schedules, samples, on_progress)
        ids = self.worker.subject(split, identity={}).ids[:samples]
        tasks = [Task(schedule, split, ids) for schedule in schedules]
        return [fmean(one.score - 1 for one in self.target(task)) for task in tasks], work

    def __getattr__(self, name: str) -> Any:
        return getattr(self.worker, name)


def unscored(task: Task) -> list[SampleScore]:
    """A score for each sample that says nothing."""
    return [SampleScore(name, 0.0) for name in task.sample_ids]


def random_model(
    seed: int, layers: int, side: int, samples: int, held_out: int, tolerance: float
) -> Problem:
    """A random model under a synthetic target; held-out samples need no forward."""
    size, n_max, needs = side * PATCH, side**2, published(layers)
    model, processor = build_model(0, 64, layers, size).eval(), build_processor(size, PATCH)
    data = ShapesVQA("calibration", samples, size=size)
    ids = tuple(sample.id for sample in data)
    target = Synthetic(unscored, ids, needs, n_max, seed)
    apart = tuple(f"apart {number}" for number in range(held_out))
    truth = Synthetic(unscored, apart, needs, n_max, seed + 1000)

    def executor(open_worker: Callable[[], Any]) -> LocalExecutor:
        return LocalExecutor(lambda: Scored(open_worker(), target))

    def lost(schedule: Schedule) -> Interval:
        found = truth(Task(schedule, "held-out", apart))
        return paired_difference([1.0] * held_out, [one.score for one in found])

    return Problem(
        f"{layers} layers, {n_max} tokens, seed {seed}",
        partial(open_study, model, data, processor=processor, ranker="last", executor=executor),
        lost,
        2,
        tolerance,
    )


def passes_of(
    cuts: Sequence[Schedule], shape: DecoderShape, tokens: Sequence[SampleTokens]
) -> float:
    """Full passes that single cuts take: the full model, all full layers once more, what is cut."""
    cost, layers = flops_cost(shape, tokens), shape.layers
    reduced = sum(cost(cut) - cut.keep.count(1.0) / layers for cut in cuts)
    return 1 + (layers - 1) / layers + reduced


def full_size(device: str, samples: int) -> dict[str, Any]:
    """All single cuts at LLaVA-1.5-7B's shape on a GPU; elsewhere at its depth, in few channels.

    What the full width would take on as many samples as a study asks is projected: FLOPs over an
    assumed throughput.
    """
    size = 24 * PATCH
    model = llava_7b("cuda") if device == "cuda" else build_model(0, 64, 32, size).eval()
    data = ShapesVQA("calibration", samples, size=size)
    metric = make_metric("kl_divergence")
    worker = ModelWorker(model, build_processor(size, PATCH), metric, "random", [data])
    subject = worker.subject("calibration", identity={})
    began = time.process_time()
    worker.evaluate(Task(subject.full, "calibration", subject.ids))
    one_pass, began = time.process_time() - began, time.process_time()
    cuts = single_cuts(32, 2, SHARES)
    _, work = worker.means("kl_divergence", "calibration", cuts)
    seconds = time.process_time() - began
    tokens, passes = subject.tokens, passes_of(cuts, LLAVA_7B, subject.tokens)
    full = SAMPLES * fmean(
        prefill_flops(LLAVA_7B, [one.n_vision] * 32, one.n_text) for one in tokens
    )
    row = {
        "cuts": len(cuts),
        "samples": samples,
        "passes": work.flops / subject.full_pass.flops,
        "passes_by_formula": passes_of(cuts, subject.shape, tokens),
        "seconds": seconds,
        "full_pass_seconds": one_pass,
        "7b": {
            "samples": SAMPLES,
            "passes": passes,
            "flops": passes * full,
            "assumed_flops_per_second": ASSUMED_FLOPS_PER_SECOND,
            "seconds": passes * full / ASSUMED_FLOPS_PER_SECOND,
        },
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["embedded", "random", "7b"])
    parser.add_argument("--models", nargs="+", default=list(WINDOWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--side", type=int, default=12, help="vision tokens = side squared")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--trials", type=int, default=24, help="of bayes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.part == "7b":
        write(args, [full_size(args.device, args.samples)])
        return
    sizes = (args.samples, args.held_out, args.tolerance)
    if args.part == "embedded":
        problems = [partial(embedded, name, *sizes) for name in args.models]
    else:
        shape = (args.layers, args.side)
        problems = [partial(random_model, seed, *shape, *sizes) for seed in range(args.seeds)]
    rows: list[dict[str, Any]] = []
    for make in problems:
        rows += compared(make(), args.trials)
        write(args, rows)


if __name__ == "__main__":
    main()
