"""Prefill time with and without a schedule, measured side by side."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from schedsearch.core.latency import PrefillTiming
from schedsearch.core.schedule import Schedule
from schedsearch.reduction.reduction import reduce


def time_prefill(
    model: nn.Module,
    inputs: Mapping[str, Any],
    schedule: Schedule,
    repeats: int = 5,
    on_progress: Callable[[int, int], None] | None = None,
) -> PrefillTiming:
    """Time whole prefills (vision tower included) up to the first token's logits.

    Runs alternate between the full and the reduced model, after one unmeasured run of each.

    Args:
        model: A model that `reduce` accepts.
        inputs: Keyword arguments of one forward; `input_ids` is `(batch, sequence)`.
        schedule: What to compare with the full model.
        repeats: Measured pairs.
        on_progress: Called with (pairs done, all pairs).
    """
    full, reduced = [], []
    with torch.inference_mode():
        for pair in range(repeats + 1):
            full.append(prefill_seconds(model, inputs))
            with reduce(model, schedule):
                reduced.append(prefill_seconds(model, inputs))
            if on_progress is not None and pair:
                on_progress(pair, repeats)
    return PrefillTiming(tuple(full[1:]), tuple(reduced[1:]), len(inputs["input_ids"]))


def prefill(model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Run one prefill, vision tower included, up to the first token's logits."""
    model(**inputs, logits_to_keep=1, use_cache=True)


def prefill_seconds(model: nn.Module, inputs: Mapping[str, Any]) -> float:
    """Seconds of one `prefill`."""
    return seconds_of(model, lambda: prefill(model, inputs))


def seconds_of(model: nn.Module, run: Callable[[], object]) -> float:
    """Seconds until the model's device has done what `run` asks for."""
    _synchronize(model)
    start = time.perf_counter()
    run()
    _synchronize(model)
    return time.perf_counter() - start


def _synchronize(model: nn.Module) -> None:
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()
