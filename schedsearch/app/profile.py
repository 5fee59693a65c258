"""What a prefill takes on this device: a latency model, checked against whole prefills."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from typing import Any

from schedsearch.app.bootstrap import DataRef, Progress, model_place, open_model, open_samples
from schedsearch.core.budget import Budget
from schedsearch.core.families.base import Family
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.families.step import Step
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.files import check_target, write_file
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.kinds import json_kind
from schedsearch.core.latency import FORMAT, LatencyModel
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.streams import is_stream
from schedsearch.errors import InputError

_SHARES = (0.35, 0.7)
_LATENCY = json_kind("a latency file", FORMAT.partition("/")[0])


@dataclass(frozen=True)
class PrefillCheck:
    """A schedule whose prefill was predicted and measured.

    Attributes:
        name: Family of the schedule.
        keep: Keep ratio of each layer.
        flops_ratio: Decoder FLOPs with / without the schedule.
        predicted_ms: What the latency model says.
        measured_ms: Median of whole prefills.
    """

    name: str
    keep: tuple[float, ...]
    flops_ratio: float
    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """(Predicted - measured) / measured."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True)
class Profile:
    """What `schedsearch profile` reports.

    Attributes:
        data: Name of the sample set.
        latency: The latency model; its `error_ms` is the mean absolute error over `checks`.
        error_percent: Mean absolute error, each in percent of the measured time.
        checks: The full model and schedules of several shapes and budgets.
    """

    data: str
    latency: LatencyModel
    error_percent: float
    checks: tuple[PrefillCheck, ...]


def profile_model(
    model_name: str,
    data: DataRef,
    *,
    batch: int = 1,
    repeats: int = 7,
    ranker: str = "last",
    progress: Progress,
    **loading: Any,
) -> Profile:
    """Measure a latency model on this device, and check it.

    Args:
        model_name: `demo`, a hub id or a folder.
        data: Where the prompts come from; those of the commonest size make the prefill.
        batch: Prompts in each prefill; they repeat where there are too few.
        repeats: Measured runs of each part and of each prefill.
        ranker: Orders the tokens.
        progress: Starts a progress bar by name.
        **loading: Passed on to `load_model`: dtype, device_map, quantization, ...

    Raises:
        InputError: Model or data cannot be used, or a number is below 1.
    """
    for name, number in (("batch", batch), ("repeats", repeats)):
        if number < 1:
            raise InputError(f"`{name}` must be at least 1, but got {number}; raise it")
    model_place(model_name)
    samples = open_samples(data, "calibration")

    from schedsearch.evaluation.latency.measure import measure_latency
    from schedsearch.models.adapters import adapter_for
    from schedsearch.reduction.rankers import make_ranker

    spec = RankerSpec(ranker)
    make_ranker(spec)
    model, processor = open_model(model_name, **loading)
    inputs, sample = _prompts(model, processor, samples, batch)
    shape = adapter_for(model).shape(model)
    tried = check_schedules(shape, sample, spec)
    latency, measured = measure_latency(
        model,
        inputs,
        [schedule for _, schedule in tried],
        name=model_name,
        ranker=spec,
        repeats=repeats,
        on_progress=progress("turns of all parts"),
    )
    checks = tuple(
        PrefillCheck(
            name,
            schedule.keep,
            flops_ratio(shape, schedule, [sample]),
            latency.prefill_time(schedule, sample),
            time,
        )
        for (name, schedule), time in zip(tried, measured, strict=True)
    )
    error = 100 * fmean(abs(check.error) for check in checks)
    return Profile(samples.name, latency, error, checks)


def check_file(path: Path, force: bool = False) -> None:
    """Refuse a name under which no latency model can be saved, before it is measured.

    Raises:
        InputError: It does not end in .json, cannot be written or must not be replaced.
    """
    if path.suffix != ".json" and not is_stream(path):
        raise InputError(f"{path}: not the name of a JSON file; end it in .json")
    check_target(path, _LATENCY, force=force)


def save_profile(result: Profile, path: Path, force: bool = False) -> None:
    """Write the latency model as a `schedsearch.latency/1` file.

    Raises:
        InputError: The place cannot be written, or what is there must not be replaced.
    """
    write_file(path, result.latency.to_json().encode(), _LATENCY, force=force)


def check_schedules(
    shape: DecoderShape, sample: SampleTokens, ranker: RankerSpec
) -> Sequence[tuple[str, Schedule]]:
    """Keep-all, then an even, a step and a sigmoid schedule at each of two budgets.

    Budgets are shares of the feasible range of FLOPs, which every model has.
    """
    layer = Step().space(shape.layers).parameters[0]
    shapes: tuple[tuple[str, Family, Mapping[str, float]], ...] = (
        ("uniform", Uniform(), {}),
        ("step", Step(), {"layer": layer.low + (layer.high - layer.low) // 4}),
        ("sigmoid", Sigmoid(), {"steepness": 8.0, "midpoint": 0.5, "floor": 0.0}),
    )
    return [
        ("full model", Schedule.full(shape.layers, ranker)),
        *(
            (name, family.schedule(point, Budget("feasible", share), shape, [sample], ranker))
            for share in _SHARES
            for name, family, point in shapes
        ),
    ]


def _prompts(
    model: Any, processor: Any, samples: SampleSet, batch: int
) -> tuple[Mapping[str, Any], SampleTokens]:
    """Arguments of one forward over prompts of the commonest size, and that size."""
    from schedsearch.evaluation.encoding import Encoder, Row, by_id

    encoder = Encoder(model, processor)
    rows = [Row(sample, encoder.encode(sample)) for sample in by_id(samples).values()]
    commonest = Counter(row.bucket for row in rows).most_common(1)[0][0]
    alike = [row for row in rows if row.bucket == commonest]
    return encoder.inputs(list(islice(cycle(alike), batch))), alike[0].prompt.counts
