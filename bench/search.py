"""What a G-Search costs: naive against schedsearch, side by side in one run.

Naive: for each layer a plain bisection over the whole grid of counts, every question on all
samples by a full forward that processes the candidate's own reduced tokens. A count above that of
the layer before is no schedule and asks for that one again; the cost without these repeats is
reported too. Ours: prefix reuse, screens, probes, early stopping.

On random models the forwards are real and the scores are synthetic: a sample is answered while
every layer keeps what that sample needs there, a share of the curve published for LLaVA-1.5-7B.
`erring` has no model: it compares galloping with bisection where the full model errs (erring.py),
and needs what a store needs. The rest needs torch, transformers and numpy only; the history lives
in memory.
"""

import argparse
import math
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from published import published
from record import write
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from schedsearch.core.flops import DecoderShape, flops_ratio, kv_ratio, prefill_flops
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Measurement, SampleScore, Task, Trial, TrialState, least_drop
from schedsearch.demo.model import PATCH, build_model
from schedsearch.demo.processor import IMAGE, build_processor, vocabulary
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.execution.reading import Reading
from schedsearch.models.adapters import adapter_for
from schedsearch.samplers.greedy import GSearch

LLAVA_7B = DecoderShape(32, 4096, 32, 32, 128, 11008, 32064)

# Two fifths of what an H100 does in dense bfloat16; only for projections.
ASSUMED_FLOPS_PER_SECOND = 4e14

Evaluate = Callable[[Task], Sequence[SampleScore]]


@dataclass
class Problem:
    """A model with samples, and who scores them."""

    evaluator: Evaluator
    evaluate: Evaluate
    ids: tuple[str, ...]
    layers: int
    n_max: int
    ranker: RankerSpec
    first: int = 2
    tolerance: float = 0.01

    def task(self, counts: Sequence[int], ids: Sequence[str], shared: int = 0) -> Task:
        """The question for some counts."""
        schedule = Schedule.from_counts(tuple(counts), self.n_max, self.ranker)
        return Task(schedule, "calibration", tuple(ids), shared)


@dataclass
class Cost:
    """What a search has cost, and what it found.

    `without_repeats` leaves out questions that the layer before has answered.
    """

    seconds: float
    full_forwards: float
    layer_forwards: int
    questions: int
    counts: tuple[int, ...]
    flops_ratio: float
    without_repeats: float | None = None


def naive(problem: Problem) -> Cost:
    """The reference; no cache, no screens, no early stop."""
    began, before = time.monotonic(), problem.evaluator.work

    def score(counts: Sequence[int]) -> list[float]:
        return [one.score for one in problem.evaluate(problem.task(counts, problem.ids))]

    settled, questions, spared = [problem.n_max] * problem.layers, 1, 0
    full = score(settled)
    for layer in range(problem.first, problem.layers):
        low, high = -1, problem.n_max
        while high - low > 1:
            middle = (low + high) // 2
            kept = min(middle, settled[layer - 1])
            work = problem.evaluator.work.flops
            found = score(settled[:layer] + [kept] * (problem.layers - layer))
            if kept < middle:
                spared += problem.evaluator.work.flops - work
            drop = math.fsum(a - b for a, b in zip(full, found, strict=True)) / len(full)
            questions += 1
            low, high = (low, middle) if drop <= problem.tolerance else (middle, high)
        settled[layer:] = [min(high, settled[layer - 1])] * (problem.layers - layer)
    cost = _cost(problem, began, before, questions, settled)
    full_pass = problem.evaluator.full_work(problem.ids).flops
    return replace(cost, without_repeats=cost.full_forwards - spared / full_pass)


def ours(problem: Problem, chunk: int = 64, **settings: Any) -> Cost:
    """G-Search as a study runs it, with its history in memory."""
    began, before = time.monotonic(), problem.evaluator.work
    n = len(problem.ids)
    settings = {"screens": (n // 12,) if n >= 12 else ()} | settings
    sampler = GSearch(
        layers=problem.layers,
        n_max=problem.n_max,
        first=problem.first,
        ranker=problem.ranker,
        tolerance=problem.tolerance,
        **settings,
    )
    tokens = problem.evaluator.sample_tokens(problem.ids)
    shape = adapter_for(problem.evaluator.model).shape(problem.evaluator.model)
    history: list[Trial] = []
    full = list(problem.evaluate(problem.task([problem.n_max] * problem.layers, problem.ids)))
    reading = Reading(full, greatest=1.0)
    behind = reading.gainful
    cuts = sorted({behind, *(behind + screen for screen in sampler.screens), n} - {0})
    spans = zip([0, *cuts], cuts, strict=False)
    borders = [one for start, end in spans for one in (*range(start + chunk, end, chunk), end)]
    whole = {one.sample_id: one.score for one in full}
    known = {(problem.n_max,) * problem.layers: {one.sample_id: one for one in full}}

    def scores(counts: tuple[int, ...], ids: Sequence[str], shared: int, again: Any = ()) -> Any:
        """Scores of these samples; those known are asked only to keep their task as it is."""
        found = known.setdefault(counts, {})
        missing = {name for name in ids if name not in found}
        if missing:
            part = [name for name in ids if name in missing or name in again]
            answered = problem.evaluate(problem.task(counts, part, shared))
            found.update({one.sample_id: one for one in answered})
        return [found[name] for name in ids]

    while questions := sampler.ask(history):
        for question in questions:
            number, counts = len(history), question.schedule.counts(problem.n_max)
            trial = Trial(number, question.params, question.schedule, samples=question.samples)
            best, shared = sampler.best(history), 0
            if best is not None:
                pairs = zip(trial.schedule.keep, best.schedule.keep, strict=True)
                shared = next((i for i, (own, kept) in enumerate(pairs) if own != kept), 0)
            probes = reading.probes
            probed = scores(counts, probes, shared) if probes else []
            read: list[SampleScore] = []
            rejected = sampler.hopeless(
                history, trial, least_drop(full, probed, 1.0, sampler.noise)
            )
            asked = len(reading.first(question.samples))
            for border in [b for b in borders if b < asked] + [asked]:
                if rejected:
                    break
                read += scores(counts, reading.order[len(read) : border], shared, probes)
                drop = least_drop(full, [*probed, *read], 1.0, sampler.noise)
                rejected = border < n and sampler.hopeless(history, trial, drop)
            ratio = flops_ratio(shape, trial.schedule, tokens)
            enough = 0
            if rejected and read:
                lost = reading.losers(read)
                allowed = math.floor(problem.tolerance * n + 1e-9)
                gained = sum(one.score > whole[one.sample_id] for one in read)
                enough = min(len(lost), allowed + 1 + gained)
            reading.learn(read, ratio, enough)
            if rejected:
                closed = replace(trial, state=TrialState.PRUNED, reason="rejected")
            elif question.samples:
                closed = replace(trial, state=TrialState.SCREENED, reason="not rejected")
            else:
                kv = kv_ratio(shape, trial.schedule, tokens)
                measurement = Measurement.of(reading.calibration_order(read), ratio, kv, full)
                closed = replace(trial, state=TrialState.COMPLETE, measurement=measurement)
            history.append(replace(closed, read=len(read)))
    best = sampler.best(history)
    assert best is not None
    return _cost(problem, began, before, len(history), best.schedule.counts(problem.n_max))


def _cost(problem: Problem, began: float, before: Any, questions: int, counts: Any) -> Cost:
    work, full = problem.evaluator.work - before, problem.evaluator.full_work(problem.ids)
    return Cost(
        time.monotonic() - began,
        work.flops / full.flops,
        work.layer_forwards,
        questions,
        tuple(counts),
        flops_ratio(
            adapter_for(problem.evaluator.model).shape(problem.evaluator.model),
            Schedule.from_counts(tuple(counts), problem.n_max, problem.ranker),
            problem.evaluator.sample_tokens(problem.ids),
        ),
    )


class Synthetic:
    """Runs the real forwards and scores by what each sample needs."""

    def __init__(self, inner: Evaluate, ids: Sequence[str], needs: list[float], n: int, seed: int):
        self._inner, self._n = inner, n
        rng = random.Random(seed)
        self._needs = {
            name: [min(n, round(n * need * share)) for need in needs]
            for name in ids
            for share in [min(1.05, rng.gauss(0.85, 0.08))]
        }

    def __call__(self, task: Task) -> list[SampleScore]:
        """Scores of a task."""
        counts = task.schedule.counts(self._n)
        return [
            SampleScore(
                one.sample_id,
                float(all(map(int.__ge__, counts[2:], self._needs[one.sample_id][2:]))),
            )
            for one in self._inner(task)
        ]


def random_problem(
    model: Any, size: int, samples: int, seed: int, prefix_bytes: int | None
) -> Problem:
    """A random model under a synthetic target."""
    data = ShapesVQA("calibration", samples, size=size)
    evaluator = Evaluator(
        model,
        build_processor(size, PATCH),
        data,
        make_metric("exact_match"),
        max_prefix_bytes=prefix_bytes,
    )
    ids = tuple(sample.id for sample in data)
    layers, n = adapter_for(model).shape(model).layers, (size // PATCH) ** 2
    target = Synthetic(evaluator.evaluate, ids, published(layers), n, seed)
    return Problem(evaluator, target, ids, layers, n, RankerSpec("last"))


def embedded_problem(
    name: str, samples: int, prefix_bytes: int | None, metric: str = "exact_match"
) -> Problem:
    """An embedded model on its own task, as its study file says but for the metric."""
    from schedsearch.app.bootstrap import DataRef, open_model, open_samples

    model, processor = open_model(name)
    data = open_samples(DataRef(f"{name}:calibration", samples), "calibration")
    evaluator = Evaluator(
        model, processor, data, make_metric(metric), max_prefix_bytes=prefix_bytes
    )
    ids = tuple(sample.id for sample in data)
    n = evaluator.sample_tokens(ids[:1])[0].n_vision
    windows = {"demo": 2, "demo-deep": 3}
    local = {"window": windows.get(name, 1), "rows": "last"}
    ranker = RankerSpec.from_mapping("local", local) if name in windows else RankerSpec("last")
    return Problem(
        evaluator,
        evaluator.evaluate,
        ids,
        adapter_for(model).shape(model).layers,
        n,
        ranker,
        1,
        0.003 if name in windows else 0.01,
    )


def llava_7b(device: str) -> Any:
    """LLaVA-1.5-7B's shape with random bfloat16 weights."""
    words = vocabulary()
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=24 * PATCH,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=32064,
        pad_token_id=0,
        eos_token_id=2,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=words[IMAGE])
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        model = LlavaForConditionalGeneration(config).eval()
        torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = 2
    return model


PLAIN: Mapping[str, Any] = {"method": "bisection", "screens": ()}


def side_by_side(
    make: Callable[[int | None], Problem], **searches: Mapping[str, Any]
) -> dict[str, Any]:
    """Naive, then each of the searches with its settings, and what it saves."""
    slow = naive(make(0))
    found = {name: ours(make(None), **settings) for name, settings in searches.items()}
    row: dict[str, Any] = {"naive": asdict(slow)}
    for name, quick in found.items():
        row[name] = {
            **asdict(quick),
            "same_schedule": slow.counts == quick.counts,
            "work_ratio": slow.full_forwards / quick.full_forwards,
            "time_ratio": slow.seconds / quick.seconds,
        }
        print(
            f"  {name}: work {slow.full_forwards:.1f} -> {quick.full_forwards:.1f} full passes "
            f"({row[name]['work_ratio']:.1f}x), {slow.seconds:.0f} -> {quick.seconds:.0f} s "
            f"({row[name]['time_ratio']:.1f}x), same schedule: {row[name]['same_schedule']}",
            flush=True,
        )
    return row


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log cost over log size."""
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum(
        (a - mx) ** 2 for a in x
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["random", "embedded", "growth", "erring", "7b"])
    parser.add_argument("--models", nargs="+", default=["demo", "demo-deep"])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--side", type=int, default=24, help="vision tokens = side squared")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full-score", nargs="+", type=float, default=[1, 0.9, 0.75, 0.5, 0.3])
    parser.add_argument("--kinds", nargs="+", default=["nested", "noise"])
    parser.add_argument("--depths", nargs="+", type=int, default=[6, 12, 20, 32])
    parser.add_argument("--tolerances", nargs="+", type=float, default=[0, 0.005, 0.01, 0.02, 0.05])
    parser.add_argument("--searches", nargs="+", default=["gallop", "no-screens", "bisection"])
    parser.add_argument("--no-reuse", action="store_true", help="of layers that schedules share")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this Python's torch sees no GPU; leave out --device for the CPU's figure")
    rows: list[dict[str, Any]] = []
    if args.part == "random":
        model = build_model(0, args.hidden, args.layers, args.side * PATCH).eval()
        for seed in range(args.seeds):
            print(f"{args.layers} layers, {args.side**2} tokens, seed {seed}", flush=True)

            def make(prefix_bytes: int | None, seed: int = seed) -> Problem:
                return random_problem(model, args.side * PATCH, args.samples, seed, prefix_bytes)

            rows.append({"seed": seed, **side_by_side(make, ours={})})
    elif args.part == "embedded":
        for name in args.models:
            print(name, flush=True)
            rows.append(
                {
                    "model": name,
                    **side_by_side(
                        lambda b, name=name: embedded_problem(name, args.samples, b),
                        ours={},
                        bisection=PLAIN,
                    ),
                }
            )
    elif args.part == "growth":
        rows = growth(args)
    elif args.part == "erring":
        from erring import run  # which needs what a store needs, too

        for row in run(args):
            rows.append(row)
            write(args, rows)
    else:
        rows = [full_size(args)]
    write(args, rows)
    # Galloping asks other questions; where a model does not nest it may end at another schedule.
    exact = {"random": "ours", "embedded": "bisection"}.get(args.part)
    if exact and not all(row[exact]["same_schedule"] for row in rows):
        sys.exit("the searches disagree")


def growth(args: argparse.Namespace) -> list[dict[str, Any]]:
    """How the layers run grow with depth, tokens and samples; three sizes each."""
    plain = {"layers": 12, "side": 12, "samples": 64}
    grown = {"layers": [6, 12, 24], "side": [8, 12, 16], "samples": [32, 64, 128]}
    modes: dict[str, Callable[[Problem], Cost]] = {
        "naive": naive,
        "layer by layer": ours,
        "coarse to fine, slack 0.3": lambda problem: ours(problem, slack=0.3),
    }
    rows = []
    for name, sizes in grown.items():
        costs: dict[str, list[Cost]] = {mode: [] for mode in modes}
        for size in sizes:
            setting = {**plain, name: size}
            pixels = setting["side"] * PATCH
            model = build_model(0, args.hidden, setting["layers"], pixels).eval()
            for mode, search in modes.items():
                if mode == "naive" and name != "layers":
                    continue
                reuse = 0 if mode == "naive" else None
                problem = random_problem(model, pixels, setting["samples"], 0, reuse)
                costs[mode].append(search(problem))
        for mode, found in costs.items():
            if not found:
                continue
            values = [size**2 if name == "side" else size for size in sizes]
            row = {
                "grows": "tokens" if name == "side" else name,
                "mode": mode,
                "sizes": values,
                "slope": slope(values, [cost.layer_forwards for cost in found]),
                "costs": [asdict(cost) for cost in found],
            }
            rows.append(row)
            print(f"  {row['grows']}, {mode}: slope {row['slope']:.2f}", flush=True)
    return rows


@contextmanager
def gpu_utilisation() -> Iterator[list[float]]:
    """Readings of nvidia-smi, one a second, in percent; empty where there is none."""
    readings: list[float] = []
    program, done = shutil.which("nvidia-smi"), threading.Event()

    def watch() -> None:
        while program and not done.wait(1.0):
            asked = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
            readings.extend(float(line) for line in found.split()[:1])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield readings
    finally:
        done.set()
        watcher.join()


def full_size(args: argparse.Namespace) -> dict[str, Any]:
    """A whole G-Search at LLaVA-1.5-7B's shape on a GPU; elsewhere at its depth, in few channels.

    Without a GPU the seconds that the full width would take are projected: work in full passes,
    times the FLOPs of such a pass, over an assumed throughput.
    """
    on_gpu = args.device == "cuda"
    size = 24 * PATCH
    model = llava_7b("cuda") if on_gpu else build_model(0, args.hidden, 32, size).eval()
    problem = random_problem(model, size, args.samples, 0, None)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with gpu_utilisation() as readings:
        cost = ours(problem)
    row = asdict(cost)
    print(f"  {cost.full_forwards:.1f} full passes, {cost.seconds:.0f} s", flush=True)
    if on_gpu:
        busy = sum(readings) / len(readings) if readings else None
        peak = torch.cuda.max_memory_allocated()
        return {**row, "peak_bytes": peak, "mean_utilisation_percent": busy}
    tokens = problem.evaluator.sample_tokens(problem.ids)
    one_pass = sum(prefill_flops(LLAVA_7B, [one.n_vision] * 32, one.n_text) for one in tokens)
    seconds = cost.full_forwards * one_pass / args.samples * 512 / ASSUMED_FLOPS_PER_SECOND
    print(f"  projected for 7B, 512 samples, on one H100: {seconds:.0f} s", flush=True)
    return {
        **row,
        "projection": {
            "samples": 512,
            "assumed_flops_per_second": ASSUMED_FLOPS_PER_SECOND,
            "seconds": seconds,
        },
    }


if __name__ == "__main__":
    main()
