"""The found schedule beside baselines of equal cost, on samples that no search has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from schedsearch.app.apply import Progress
from schedsearch.app.study import Study
from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.families.base import Family
from schedsearch.core.families.linear import Linear
from schedsearch.core.families.step import Step
from schedsearch.core.families.uniform import Uniform
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.engine.downsample import Downsampler, prompt_ratios
from schedsearch.engine.evaluator import Evaluator
from schedsearch.engine.timing import time_prefill
from schedsearch.errors import DataError, InputError
from schedsearch.execution.executor import Evaluate, LocalExecutor
from schedsearch.execution.scoring import EvaluationError, Scoring
from schedsearch.execution.subject import Subject

FULL = "full model"
FOUND = "found schedule"


@dataclass(frozen=True)
class Row:
    """One way to run the model on the held-out samples.

    Attributes:
        name: What reports call it.
        what: What it is, in words.
        score: Of the metric; None where this way is not available.
        difference: This row minus the found schedule, paired by sample; None in its own row.
        flops_ratio: As `schedsearch.core.flops.flops_ratio` defines it, over these samples.
        kv_ratio: As `schedsearch.core.flops.kv_ratio` defines it, over these samples.
        mean_keep: Mean over the layers of the share of vision tokens that they process.
        reason: Why it is not available.
    """

    name: str
    what: str
    score: Interval | None = None
    difference: Interval | None = None
    flops_ratio: float | None = None
    kv_ratio: float | None = None
    mean_keep: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """What `schedsearch report` measured on held-out samples.

    Attributes:
        schedule: The found one.
        data: Name of the held-out set.
        data_digest: Hash of its content.
        samples: How many there are.
        metric: Name of the metric; larger is better.
        rows: The full model, the found schedule, then baselines.
        score: Of the found schedule.
        drop: Full model minus found schedule, paired by sample.
        prefill_speedup: Measured prefill time without / with the found schedule, vision tower
            included.
        prefill_seconds: Median seconds of one prefill without and with it.
        prefill_batch: Prompts in each timed prefill.
        evaluated: Samples that were really evaluated for this, not found in the store.
    """

    schedule: Schedule
    data: str
    data_digest: str
    samples: int
    metric: str
    rows: tuple[Row, ...]
    score: Interval
    drop: Interval
    prefill_speedup: float
    prefill_seconds: tuple[float, float]
    prefill_batch: int
    evaluated: int


def compare(
    study: Study,
    held_out: SampleSet,
    schedule: Schedule,
    progress: Progress,
    *,
    repeats: int = 5,
) -> Comparison:
    """Evaluate a schedule, and what it has to beat, on held-out samples.

    Baselines cost what the schedule costs on these samples, or as much less as it takes to keep
    whole tokens. One that this model or this budget does not allow is listed with the reason.

    Scores go through the study's store, so a comparison that was interrupted goes on where it was.
    They belong to no trial, and the search never sees them.

    Args:
        study: Gives model, metric, store, and the calibration samples.
        held_out: Samples that the search has not seen.
        schedule: What is compared; usually `study.best`.
        progress: Starts a progress bar by name.
        repeats: Timed pairs of prefills.

    Raises:
        DataError: A held-out sample is a calibration sample too, or there are fewer than two.
        RunError: The full model, or the schedule with its own or random tokens, cannot be
            evaluated.
    """
    bench = _Bench(study, held_out, schedule, progress)
    full = bench.row(FULL, "all layers process all vision tokens", bench.subject.full)
    random = bench.row(
        "random tokens",
        "counts of the found schedule, tokens in one random order for all layers",
        replace(schedule, ranker=RankerSpec("random")),
    )
    families = _families(study.sampler.first, schedule.ranker)
    equals = [bench.at_equal_cost(*baseline) for baseline in families]
    smaller = bench.smaller_images()
    timing = time_prefill(
        bench.evaluator.model,
        bench.evaluator.prefill_inputs(),
        schedule,
        repeats,
        progress("prefill time"),
    )
    assert bench.found.score is not None and full.difference is not None
    return Comparison(
        schedule=schedule,
        data=held_out.name,
        data_digest=held_out.digest(),
        samples=len(bench.subject.ids),
        metric=bench.evaluator.metric.name,
        rows=(full, bench.found, random, *equals, smaller),
        score=bench.found.score,
        drop=full.difference,
        prefill_speedup=timing.speedup,
        prefill_seconds=(median(timing.full), median(timing.reduced)),
        prefill_batch=timing.batch,
        evaluated=bench.evaluated,
    )


_Baseline = tuple[str, str, Family, Mapping[str, float], RankerSpec]


def _families(first: int, ranker: RankerSpec) -> tuple[_Baseline, ...]:
    """Name, description, family, its free parameters, and ranker.

    With the ranker of the search, one share from layer 2 on would be FastV's step once more; so
    `uniform` stands for what needs neither a search nor attention.
    """
    return (
        (
            "uniform",
            "one share for all layers from 1 on, tokens at an even stride over the image",
            Uniform(first=1),
            {},
            RankerSpec("uniform"),
        ),
        (
            "linear",
            f"a straight line from layer {first} to the last that falls by 1, cut off at 0 and 1, "
            f"same ranker",
            Linear(first=first),
            {"fall": 1.0},
            ranker,
        ),
        (
            "FastV-style step",
            "all tokens in layers 0 and 1, one share from layer 2 on, ranked once by the last "
            "prompt row (arXiv 2403.06764)",
            Step(first=2),
            {"layer": 2},
            RankerSpec("last"),
        ),
    )


class _Bench:
    """Evaluates on one held-out set, and pairs everything with the found schedule."""

    def __init__(
        self, study: Study, held_out: SampleSet, schedule: Schedule, progress: Progress
    ) -> None:
        own = study.evaluator
        self.evaluator = Evaluator(own.model, own.processor, held_out, own.metric)
        ids = tuple(sample.id for sample in held_out)
        self.subject = replace(
            study.subject,
            split=held_out.split,
            ids=ids,
            keys=tuple(self.evaluator.sample_keys()),
            images=tuple(self.evaluator.image_keys()),
            tokens=tuple(self.evaluator.sample_tokens(ids)),
        )
        _check_held_out(study.subject, self.subject)
        self.evaluated = 0
        self._study = study
        self._held_out = held_out
        self._progress = progress
        self._flops, _ = self.subject.costs(schedule)
        self._found = self._values(FOUND, schedule, self.subject, self.evaluator.evaluate)
        costs, keep = self.subject.costs(schedule), fmean(schedule.keep)
        paired = self._row(FOUND, "the result of the search", self._found, costs, keep)
        self.found = replace(paired, difference=None)

    def row(self, name: str, what: str, schedule: Schedule) -> Row:
        """The row of a schedule."""
        values = self._values(name, schedule, self.subject, self.evaluator.evaluate)
        return self._row(name, what, values, self.subject.costs(schedule), fmean(schedule.keep))

    def at_equal_cost(
        self,
        name: str,
        what: str,
        family: Family,
        params: Mapping[str, float],
        ranker: RankerSpec,
    ) -> Row:
        """The row of a family's schedule that costs what the found one costs."""
        subject = self.subject
        try:
            budget = Budget("flops", self._flops)
            schedule = family.schedule(params, budget, subject.shape, subject.tokens, ranker)
            return self.row(name, what, schedule)
        except (InputError, EvaluationError) as error:
            return Row(name, what, reason=str(error))

    def smaller_images(self) -> Row:
        """The row of the full model on images that cost what the found schedule costs."""
        name, what = "downsampled image", "the full model on smaller images"
        own, subject = self.evaluator, self.subject
        try:
            downsampler = Downsampler(own.model, own.processor)
            grid = downsampler.grid_within(self._flops, subject.tokens)
            what += f", {grid.rows} x {grid.columns} patches, position embeddings interpolated"
            processor = downsampler.processor(grid)
            evaluator = Evaluator(own.model, processor, self._held_out, own.metric, against=own)
            tokens = tuple(evaluator.sample_tokens(subject.ids))
            context = {**subject.context, "downsampled": f"{grid.rows} x {grid.columns}"}
            smaller = replace(subject, tokens=tokens, context=context)

            def evaluate(task: Task) -> Sequence[SampleScore]:
                with downsampler.interpolating():
                    return evaluator.evaluate(task)

            values = self._values(name, subject.full, smaller, evaluate)
        except (InputError, EvaluationError) as error:
            return Row(name, what, reason=str(error))
        costs = prompt_ratios(subject.shape, tokens, subject.tokens)
        kept = sum(one.n_vision for one in tokens) / sum(one.n_vision for one in subject.tokens)
        return self._row(name, what, values, costs, kept)

    def _values(
        self, name: str, schedule: Schedule, subject: Subject, evaluate: Evaluate
    ) -> list[float]:
        executor = LocalExecutor(evaluate)
        scoring = Scoring(self._study.name, subject, self._study.store, executor)
        scores = scoring.scores(schedule, self._progress(name))
        self.evaluated += scoring.evaluated
        return [one.score for one in scores]

    def _row(
        self,
        name: str,
        what: str,
        values: Sequence[float],
        costs: tuple[float, float],
        mean_keep: float,
    ) -> Row:
        return Row(
            name=name,
            what=what,
            score=intervals.of_scores(values),
            difference=intervals.paired_difference(values, self._found),
            flops_ratio=costs[0],
            kv_ratio=costs[1],
            mean_keep=mean_keep,
        )


def _check_held_out(calibration: Subject, held_out: Subject) -> None:
    """Refuse data on which a comparison would say nothing."""
    if len(held_out.ids) < 2:
        raise DataError(
            f"an interval needs at least 2 held-out samples, but got {len(held_out.ids)}; add some"
        )
    samples = zip(calibration.images, calibration.ids, strict=True)
    seen = {image: name for images, name in samples for image in images}
    for images, name in zip(held_out.images, held_out.ids, strict=True):
        for image in images:
            if image in seen:
                raise DataError(
                    f"held-out sample {name!r} shows the image of calibration sample "
                    f"{seen[image]!r}, which the search has seen; remove it from the held-out set"
                )
