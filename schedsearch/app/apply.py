"""What a schedule does to a model on data: cost, time, quality, changed answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schedsearch.app.bootstrap import DataRef, Progress, model_place, open_model, open_samples
from schedsearch.core import intervals
from schedsearch.core.flops import flops_ratio, kv_ratio
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import ScheduleError


@dataclass(frozen=True)
class ChangedAnswer:
    """A sample that the model answers differently under the schedule."""

    sample_id: str
    question: str
    reference: str
    full: str | None
    reduced: str | None


@dataclass(frozen=True)
class Quality:
    """A metric with and without the schedule on the same samples.

    Attributes:
        metric: Its name; larger is better.
        full: The unmodified model.
        reduced: Under the schedule.
        random: Under the same counts with random tokens.
        drop: Full minus reduced, paired by sample.
        gain_over_random: Reduced minus random, paired by sample.
        kinds: Full and reduced by kind of question.
        changed: Samples whose score changed.
    """

    metric: str
    full: Interval
    reduced: Interval
    random: Interval
    drop: Interval
    gain_over_random: Interval
    kinds: dict[str, tuple[Interval, Interval]]
    changed: tuple[ChangedAnswer, ...]


@dataclass(frozen=True)
class Application:
    """Result of applying a schedule.

    Attributes:
        model: As the caller named it.
        architecture: Class of the model.
        data: Name of the sample set.
        samples: How many there were.
        keep: Keep ratio of each decoder layer.
        ranker: Name of the ranker.
        mean_keep: Mean of `keep` over the layers.
        flops_ratio: Decoder FLOPs with / without, over these samples.
        kv_ratio: KV cache bytes with / without.
        prefill_speedup: Measured prefill time without / with, vision tower included.
        prefill_seconds: Median seconds of one prefill without and with.
        prefill_batch: Prompts in each timed prefill.
        quality: Scores with and without.
        claim: What the schedule's certificate says; None without one.
        doubt: Why that says nothing of this model; None where it does.
    """

    model: str
    architecture: str
    data: str
    samples: int
    keep: tuple[float, ...]
    ranker: str
    mean_keep: float
    flops_ratio: float
    kv_ratio: float
    prefill_speedup: float
    prefill_seconds: tuple[float, float]
    prefill_batch: int
    quality: Quality
    claim: str | None = None
    doubt: str | None = None


def apply_schedule(
    model_name: str,
    schedule_path: Path,
    data: DataRef,
    *,
    metric: str = "vqa_accuracy",
    repeats: int = 5,
    progress: Progress,
    **loading: Any,
) -> Application:
    """Run a model with and without a schedule on the same samples.

    Args:
        model_name: `demo`, a hub id or a folder.
        schedule_path: A `schedsearch.schedule/1` file.
        data: What to evaluate on.
        metric: Name of the metric.
        repeats: Timed pairs of prefills.
        progress: Starts a progress bar by name.
        **loading: Passed on to `load_model`: dtype, device_map, quantization, ...

    Raises:
        InputError: Model, schedule or data cannot be used, or do not fit each other.
        RunError: The evaluation failed.
    """
    from statistics import median

    from schedsearch.evaluation.metrics import check_answers, make_metric

    scored = make_metric(metric)
    schedule = Schedule.load(schedule_path)
    model_place(model_name)
    samples = open_samples(data)
    check_answers(samples, scored)

    from schedsearch.evaluation.evaluator import Evaluator
    from schedsearch.evaluation.latency.timing import time_prefill
    from schedsearch.models.adapters import adapter_for
    from schedsearch.models.wrappers import unwrapped
    from schedsearch.reduction.certified import doubt
    from schedsearch.reduction.guards import check_fits
    from schedsearch.reduction.rankers import make_ranker

    model, processor = open_model(model_name, **loading)
    adapter = adapter_for(model)
    try:
        check_fits(model, adapter, schedule)
        make_ranker(schedule.ranker)
    except ScheduleError as error:
        raise ScheduleError(f"{schedule_path}: {error}") from None
    evaluator = Evaluator(model, processor, samples, scored)
    ids = tuple(sample.id for sample in samples)

    def scores(name: str, tried: Schedule) -> list[SampleScore]:
        return evaluator.evaluate(Task(tried, samples.split, ids), progress(name))

    full = scores("full model", Schedule.full(schedule.layers))
    reduced = scores("with the schedule", schedule)
    random = scores(
        "random tokens", replace(schedule, ranker=RankerSpec("random"), certificate=None)
    )
    proof = schedule.certificate
    timing = time_prefill(
        model, evaluator.prefill_inputs(ids), schedule, repeats, progress("prefill time")
    )
    tokens = evaluator.sample_tokens(ids)
    shape = adapter.shape(model)
    return Application(
        model=model_name,
        architecture=adapter.architecture(model),
        data=samples.name,
        samples=len(ids),
        keep=schedule.keep,
        ranker=schedule.ranker.name,
        mean_keep=sum(schedule.keep) / schedule.layers,
        flops_ratio=flops_ratio(shape, schedule, tokens),
        kv_ratio=kv_ratio(shape, schedule, tokens),
        prefill_speedup=timing.speedup,
        prefill_seconds=(median(timing.full), median(timing.reduced)),
        prefill_batch=timing.batch,
        quality=compare(metric, samples, full, reduced, random),
        claim=proof.claim if proof else None,
        doubt=doubt(unwrapped(model), proof) if proof else None,
    )


def compare(
    metric: str,
    samples: SampleSet,
    full: Sequence[SampleScore],
    reduced: Sequence[SampleScore],
    random: Sequence[SampleScore],
) -> Quality:
    """Set three evaluations of the same samples side by side."""
    listed = list(samples)
    with_, without, baseline = (
        [score.score for score in scores] for scores in (reduced, full, random)
    )
    kinds = {}
    for kind in dict.fromkeys(sample.kind for sample in listed):
        rows = [row for row, sample in enumerate(listed) if sample.kind == kind]
        kinds[kind] = (
            intervals.of_scores([without[row] for row in rows]),
            intervals.of_scores([with_[row] for row in rows]),
        )
    changed = tuple(
        ChangedAnswer(
            sample.id, sample.question, "".join(sample.answers[:1]), a.prediction, b.prediction
        )
        for sample, a, b in zip(listed, full, reduced, strict=True)
        if _answers_differ(a, b)
    )
    return Quality(
        metric=metric,
        full=intervals.of_scores(without),
        reduced=intervals.of_scores(with_),
        random=intervals.of_scores(baseline),
        drop=intervals.paired_difference(without, with_),
        gain_over_random=intervals.paired_difference(with_, baseline),
        kinds=kinds if any(kinds) else {},
        changed=changed,
    )


def _answers_differ(first: SampleScore, second: SampleScore) -> bool:
    if first.prediction is None or second.prediction is None:
        return first.score != second.score
    return first.prediction != second.prediction
