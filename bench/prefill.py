"""Prefill, time to first token, decoding and memory with and without a schedule, side by side.

On a GPU: four checkpoints' shapes at true size, from their public configurations, with random
bfloat16 weights. On a CPU: the same families with 12 layers of 256 channels and small vision
towers. Schedules: the published G-Search curve (LLaVA-1.5-7B's, at the same depth, where the family
has none of its own), and steps at layer 2 to 50 % and 25 % of the decoder's FLOPs. In every turn
each runs once, after the full model. Needs torch, transformers and numpy only.
"""

import argparse
import gc
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import torch
from record import write
from shapes import SCALED, TEXT, TRUE_SIZE, Case, build, prompts
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import StoppingCriteria

from schedsearch.core.budget import Budget
from schedsearch.core.families.step import Step
from schedsearch.core.flops import flops_ratio, kv_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.evaluation.latency.timing import prefill_seconds
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction.reduction import reduce

FULL, EVENLY = "full", "evenly"
SECONDS = ("prefill", "decoder", "first_token", "per_token")


def now() -> float:
    """Seconds, once the device has done all that it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(StoppingCriteria):
    """Notes when the first of some new tokens was there, and when the last; stops nothing."""

    def __init__(self, tokens: int) -> None:
        self.tokens, self.seen, self.ticks = tokens, 0, [now()]

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_kwargs: Any) -> torch.Tensor:
        """Look at the clock at the first and the last of the tokens."""
        self.seen += 1
        if self.seen in (1, self.tokens):
            self.ticks.append(now())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def decoder_seconds(model: Any) -> Iterator[list[float]]:
    """Seconds inside the decoder, hooks of a reduction included: what FLOPs ratios speak of."""
    began, spent = [0.0], []

    def enter(_module: Any, _args: Any) -> None:
        began[0] = now()

    def leave(_module: Any, _args: Any, _output: Any) -> None:
        spent.append(now() - began[0])

    decoder = adapter_for(model).decoder(model)
    handles = [
        decoder.register_forward_pre_hook(enter, prepend=True),
        decoder.register_forward_hook(leave),
    ]
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def run_once(
    model: Any, inputs: Mapping[str, Any], schedule: Schedule | None, new_tokens: int
) -> dict[str, float]:
    """Seconds of one prefill and one answer, and the most GPU memory in use, in bytes.

    Returns:
        `prefill`: the whole of it, vision tower included. `decoder`: its layers. `first_token`:
        until `generate` has the first token. `per_token`: each further one.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if schedule is not None:
            stack.enter_context(reduce(model, schedule))
        with decoder_seconds(model) as inside:
            whole = prefill_seconds(model, inputs)
        found = {"prefill": whole, "decoder": inside[0]}
        if new_tokens:
            clock = Clock(new_tokens)
            settings = {"max_new_tokens": new_tokens, "do_sample": False}
            model.generate(**inputs, **settings, stopping_criteria=[clock])
            start, first, last = clock.ticks
            found["first_token"] = first - start
            found["per_token"] = (last - first) / (new_tokens - 1)
    if torch.cuda.is_available():
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found


def schedules(case: Case) -> dict[str, Schedule]:
    steps = {
        f"{budget:.0%}": Step().schedule(
            {"layer": 2}, Budget("flops", budget), case.decoder, [case.prompt]
        )
        for budget in (0.5, 0.25)
    }
    return {"published": case.published, **steps}


def measure(
    case: Case, model: Any, inputs: Mapping[str, Any], turns: int, new_tokens: int
) -> list[dict[str, Any]]:
    """One row for each schedule; all of them take turns with the full model."""
    reduced = schedules(case)
    evenly = replace(case.published, ranker=RankerSpec("uniform"))
    asked = {FULL: None, **reduced, EVENLY: evenly}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
    for _ in range(turns + 1):
        for name, schedule in asked.items():
            answer = 0 if name == EVENLY else new_tokens
            runs[name].append(run_once(model, inputs, schedule, answer))
    found = {
        name: {key: [run[key] for run in some[1:]] for key in some[0]}
        for name, some in runs.items()
    }
    rows = []
    for name, schedule in reduced.items():
        ratio = flops_ratio(case.decoder, schedule, [case.prompt])
        speedup = {key: median(map(truediv, found[FULL][key], found[name][key])) for key in SECONDS}
        rows.append(
            {
                "schedule": name,
                "flops_ratio": ratio,
                "kv_ratio": kv_ratio(case.decoder, schedule, [case.prompt]),
                "vision_tokens": case.tokens,
                "text_tokens": TEXT,
                "speedup": speedup,
                "over_flops": {key: speedup[key] * ratio for key in ("decoder", "prefill")},
                "full": found[FULL],
                "reduced": found[name],
            }
        )
    # What looking for tokens adds to removing as many without a look.
    shares = [
        (looked - blind) / looked
        for looked, blind in zip(
            found["published"]["decoder"], found[EVENLY]["decoder"], strict=True
        )
    ]
    rows[0]["ranking_share"] = median(shares)
    return rows


ATTENTION = {
    "sdpa": "torch chooses the kernel",
    "torch-flash": "torch's flash kernel or an error: it takes no mask",
    "flash_attention_2": "the package flash_attn",
}


@contextmanager
def attending(model: Any, attention: str) -> Iterator[None]:
    """The model under one of ATTENTION."""
    torch_flash = attention == "torch-flash"
    model.set_attn_implementation("sdpa" if torch_flash else attention)
    kernels: AbstractContextManager[Any] = nullcontext()
    if torch_flash:
        kernels = sdpa_kernel(SDPBackend.FLASH_ATTENTION)
    with kernels:
        yield


def show(row: Mapping[str, Any]) -> str:
    """One line; a share is of the speed-up that FLOPs promise."""
    times, over = row["speedup"], row["over_flops"]
    line = (
        f"{row['model']}, {row['attention']}, batch {row['batch']}, {row['schedule']}: "
        f"FLOPs {1 / row['flops_ratio']:.2f}x less, "
        f"decoder {times['decoder']:.2f}x faster ({over['decoder']:.0%}), "
        f"prefill {times['prefill']:.2f}x ({over['prefill']:.0%}), "
        f"first token {times['first_token']:.2f}x, per token {times['per_token']:.2f}x"
    )
    if "ranking_share" in row:
        line += f", ranking {row['ranking_share']:.1%} of the decoder's time"
    if "peak_bytes" in row["full"]:
        most = (max(row[which]["peak_bytes"]) / 2**30 for which in ("full", "reduced"))
        line += ", peak {:.1f} -> {:.1f} GiB".format(*most)
    return line


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows in Markdown."""
    titles = (
        "shape | attention | batch | schedule | FLOPs | decoder | of FLOPs | prefill | of FLOPs"
    )
    lines = [f"| {titles} | first token | per token |", "|---" * 11 + "|"]
    for row in rows:
        cells = [row["model"], row["attention"], str(row["batch"]), row["schedule"]]
        cells.append(f"{1 / row['flops_ratio']:.2f}x")
        for key in ("decoder", "prefill"):
            cells += [f"{row['speedup'][key]:.2f}x", f"{row['over_flops'][key]:.2f}"]
        cells += [f"{row['speedup'][key]:.2f}x" for key in ("first_token", "per_token")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--models", nargs="+", default=list(TRUE_SIZE), choices=list(TRUE_SIZE))
    parser.add_argument("--attention", nargs="+", choices=list(ATTENTION))
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--turns", type=int, default=5, help="measured ones, after one unmeasured")
    parser.add_argument("--new-tokens", type=int, default=33)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    on_gpu = args.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit("this Python's torch sees no GPU; leave out --device for the CPU's figures")
    args.attention = args.attention or (list(ATTENTION) if on_gpu else ["sdpa"])
    cases, dtype = (TRUE_SIZE, torch.bfloat16) if on_gpu else (SCALED, torch.float32)
    rows: list[dict[str, Any]] = []
    for name in args.models:
        case, model = cases[name], build(cases[name], args.device, dtype)
        for attention in args.attention:
            if attention == "flash_attention_2" and find_spec("flash_attn") is None:
                print(f"{attention}: not measured, because flash_attn is not installed")
                continue
            with attending(model, attention):
                for batch in args.batch:
                    inputs = prompts(case, batch, args.device, dtype)
                    for row in measure(case, model, inputs, args.turns, args.new_tokens):
                        where = {"model": name, "attention": attention, "batch": batch}
                        rows.append(where | row)
                        print(show(rows[-1]), flush=True)
                    write(args, rows)
        del model
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()
    print(table(rows))


if __name__ == "__main__":
    main()
