"""Measuring a latency model: the parts of a prefill one by one, and whole prefills to check it.

All runs take turns, in an order that turns round from one repeat to the next, and share the state
of the memory allocator, so that a machine that slows down or speeds up favours none.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean, median
from typing import Any

import torch
from torch import nn

from schedsearch.core.flops import SampleTokens
from schedsearch.core.latency import Conditions, LatencyModel
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.errors import DataError
from schedsearch.evaluation.latency.timing import prefill, prefill_seconds, seconds_of
from schedsearch.models.adapters import Adapter, adapter_for
from schedsearch.reduction.reduction import reduce

OnProgress = Callable[[int, int], None]

_TIMED_LAYERS = 8


def measure_latency(
    model: nn.Module,
    inputs: Mapping[str, Any],
    schedules: Sequence[Schedule],
    *,
    name: str,
    ranker: RankerSpec | None = None,
    points: int = 8,
    repeats: int = 5,
    on_progress: OnProgress | None = None,
) -> tuple[LatencyModel, list[float]]:
    """Measure what a prefill costs, part by part, and whole prefills to check the sum.

    Layers are alike, so the first eight after layer 0 are timed in a row, with an empty KV cache
    and the tokens, mask and rotary embeddings that the runtime gives them, and the mean stands for
    all. The rest of the model is timed without any layers. What a reduction costs beyond its layers
    comes from whole prefills that lose one vision token once, and one before every layer from 2 on;
    where the noise of the clock leaves less than nothing, it is 0.

    Args:
        model: A model that `reduce` accepts.
        inputs: Keyword arguments of one forward without padding; `input_ids` is
            `(batch, sequence)`, and every row has equally many vision tokens.
        schedules: Under which whole prefills check the model; one that keeps everything is
            measured without hooks.
        name: How the caller names the model.
        ranker: Orders the tokens; `last` by default.
        points: Token counts at which a layer is timed, from text only to the whole prompt.
        repeats: Measured runs of each part, after one unmeasured.
        on_progress: Called with (repeats done, all repeats).

    Returns:
        The latency model with its error, and the median milliseconds of a whole prefill under each
        of `schedules`; no term of the model is fitted to these.

    Raises:
        DataError: The prompts are padded, uneven or have no vision tokens.
        ScheduleError: The model does not take a schedule, or the ranker.
    """
    adapter, spec = adapter_for(model), ranker or RankerSpec()
    modules = adapter.layers(model)
    layers, timed = len(modules), modules[1 : 1 + _TIMED_LAYERS]
    sample = _sample(model, adapter, inputs)
    n_vision, n_text = sample.n_vision, sample.n_text
    counts = _ladder(n_vision, points)
    with torch.inference_mode():
        captured = [
            _captured(model, modules, timed, inputs, _even(layers, count / n_vision))
            for count in counts
        ]
        whole = Schedule.full(layers)
        once = _staircase(layers, n_vision, 1, spec)
        often = _staircase(layers, n_vision, layers, spec)
        seconds = _take_turns(
            [
                *(partial(one.seconds, model) for one in captured),
                partial(_outside_seconds, model, adapter, inputs),
                *(
                    partial(_reduced_seconds, model, inputs, tried)
                    for tried in (whole, once, often, *schedules)
                ),
            ],
            repeats,
            on_progress,
        )
    ms = [[1e3 * one for one in runs] for runs in seconds]
    outside, full, single, many, *checked = ms[len(counts) :]
    weights = next(model.parameters())
    config: Any = adapter.decoder(model).config
    plain = LatencyModel(
        layers=layers,
        tokens=tuple(count + n_text for count in counts),
        layer_ms=tuple(median(runs) / len(timed) for runs in ms[: len(counts)]),
        outside_ms=median(outside),
        reduce_ms=0.0,
        drop_ms=0.0,
        conditions=Conditions(
            model=name,
            device=torch.cuda.get_device_name(weights.device) if weights.is_cuda else "cpu",
            dtype=str(weights.dtype).removeprefix("torch."),
            attention=config._attn_implementation or "eager",
            torch=torch.__version__,
            threads=torch.get_num_threads(),
            batch=len(inputs["input_ids"]),
            n_vision=n_vision,
            n_text=n_text,
            ranker=spec.name,
            timed_layers=len(timed),
            repeats=repeats,
        ),
    )

    def extra(
        dearer: list[float], schedule: Schedule, cheaper: list[float], less: Schedule
    ) -> float:
        """Milliseconds between two prefills that their layers do not explain."""
        layers_ms = plain.prefill_time(schedule, sample) - plain.prefill_time(less, sample)
        differences = [long - short for long, short in zip(dearer, cheaper, strict=True)]
        return median(differences) - layers_ms

    more = len(often.cut_layers(n_vision)) - 1
    cut = max(0.0, extra(many, often, single, once) / more) if more > 0 else 0.0
    lost = extra(single, once, full, whole) - cut
    latency = replace(plain, reduce_ms=max(0.0, lost), drop_ms=cut)
    times = [median(runs) for runs in checked]
    errors = [
        abs(latency.prefill_time(tried, sample) - time)
        for tried, time in zip(schedules, times, strict=True)
    ]
    return replace(latency, error_ms=fmean(errors) if errors else None), times


@dataclass
class _Capture:
    """What some layers received in one prefill.

    Attributes:
        states: `(batch, n, hidden)` that entered the first of them.
        calls: Each layer with its further arguments.
        cache: The KV cache before any layer filled it.
    """

    states: torch.Tensor | None = None
    calls: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    cache: Any = None

    def begin(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        """Note the cache as it enters layer 0."""
        self.cache = copy.deepcopy(kwargs.get("past_key_values"))

    def enter(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note a call."""
        if self.states is None:
            self.states = args[0]
        self.calls.append((layer, args[1:], kwargs))

    def seconds(self, model: nn.Module) -> float:
        """Seconds of those layers in a row, again."""
        again = {"past_key_values": copy.deepcopy(self.cache)}

        def run() -> None:
            states: Any = self.states
            for layer, args, kwargs in self.calls:
                output = layer(states, *args, **{**kwargs, **again})
                states = output if isinstance(output, torch.Tensor) else output[0]

        return seconds_of(model, run)


def _captured(
    model: nn.Module,
    layers: Sequence[nn.Module],
    timed: Sequence[nn.Module],
    inputs: Mapping[str, Any],
    schedule: Schedule,
) -> _Capture:
    """What `timed` layers receive under a schedule."""
    capture = _Capture()
    with ExitStack() as stack:
        if min(schedule.keep) < 1:
            stack.enter_context(reduce(model, schedule))
        # Hooks run in the order of registration, so these see what the reduction hands on.
        hook = layers[0].register_forward_pre_hook(capture.begin, with_kwargs=True)
        stack.callback(hook.remove)
        for layer in timed:
            hook = layer.register_forward_pre_hook(capture.enter, with_kwargs=True)
            stack.callback(hook.remove)
        prefill(model, inputs)
    return capture


def _sample(model: nn.Module, adapter: Adapter, inputs: Mapping[str, Any]) -> SampleTokens:
    """The prompt that all rows have."""
    ids: torch.Tensor = inputs["input_ids"]
    mask = inputs.get("attention_mask")
    rows = adapter.vision_mask(model, ids).sum(1).tolist()
    if min(rows) != max(rows) or rows[0] < 1 or (mask is not None and not bool(mask.all())):
        raise DataError(
            f"a profile needs prompts of equal length with equally many vision tokens, but got "
            f"{rows} in {ids.shape[1]} columns; choose other samples"
        )
    return SampleTokens(rows[0], ids.shape[1] - rows[0])


def _ladder(n_vision: int, points: int) -> list[int]:
    """Vision tokens from none to all, evenly spread and distinct."""
    steps = max(1, points - 1)
    return sorted({round(n_vision * step / steps) for step in range(steps + 1)})


def _even(layers: int, keep: float) -> Schedule:
    """The share `keep` from layer 1 on, chosen without attention."""
    return Schedule((1.0,) + (keep,) * (layers - 1), RankerSpec("uniform"))


def _staircase(layers: int, n_vision: int, cuts: int, ranker: RankerSpec) -> Schedule:
    """One token less before each of `cuts` layers, from layer 2 on."""
    gone = [min(max(0, layer - 1), cuts, n_vision) for layer in range(layers)]
    return Schedule.from_counts([n_vision - one for one in gone], n_vision, ranker)


def _take_turns(
    runs: Sequence[Callable[[], float]], repeats: int, on_progress: OnProgress | None
) -> list[list[float]]:
    """Results of each run, those of the first turn left out."""
    found: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        order = range(len(runs))
        for index in order if turn % 2 else reversed(order):
            found[index].append(runs[index]())
        if on_progress is not None:
            on_progress(turn, repeats)
    return [results[1:] for results in found]


def _outside_seconds(model: nn.Module, adapter: Adapter, inputs: Mapping[str, Any]) -> float:
    """Seconds of a prefill without decoder layers."""
    with _without_layers(adapter.decoder(model)):
        return prefill_seconds(model, inputs)


@contextmanager
def _without_layers(decoder: nn.Module) -> Iterator[None]:
    layers = decoder.get_submodule("layers")
    decoder.add_module("layers", nn.ModuleList())
    try:
        yield
    finally:
        decoder.add_module("layers", layers)


def _reduced_seconds(model: nn.Module, inputs: Mapping[str, Any], schedule: Schedule) -> float:
    """Seconds of a prefill; of the unmodified model where the schedule keeps everything."""
    if min(schedule.keep) == 1:
        return prefill_seconds(model, inputs)
    with reduce(model, schedule):
        return prefill_seconds(model, inputs)
