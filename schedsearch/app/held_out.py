"""Schedules on samples that no search has seen, paired by sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from schedsearch.app.bootstrap import Progress
from schedsearch.app.scorers import check_unchanged
from schedsearch.app.splits import check_apart
from schedsearch.app.study import Study
from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.families.base import Family
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import SampleScore, Task
from schedsearch.engine.downsample import Downsampler, prompt_ratios
from schedsearch.engine.evaluator import Evaluator
from schedsearch.errors import InputError
from schedsearch.execution.executor import Evaluate, LocalExecutor
from schedsearch.execution.scoring import EvaluationError, Scoring
from schedsearch.execution.subject import Subject


@dataclass(frozen=True)
class Row:
    """One way to run the model on the held-out samples.

    Attributes:
        name: What reports call it.
        what: What it is, in words.
        score: Of the metric; None where this way is not available.
        difference: This row minus the one that others are paired with; None in that one's own.
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


class HeldOut:
    """Evaluates schedules on samples that no search has seen, and pairs them with one of them.

    Scores go through the study's store, so what was interrupted goes on where it was. They belong
    to no trial.

    Args:
        study: Gives model, metric, store, and the calibration samples.
        samples: The held-out set.
        progress: Starts a progress bar by name.

    Attributes:
        evaluator: Of the held-out set.
        subject: Of the held-out set.
        evaluated: Samples that were really evaluated, not found in the store.

    Raises:
        DataError: A held-out sample is a calibration sample too, or there are fewer than two.
        InputError: The scorer has changed since the study was opened.
    """

    def __init__(self, study: Study, samples: SampleSet, progress: Progress) -> None:
        own = study.evaluator
        self.evaluator = Evaluator(own.model, own.processor, samples, own.metric)
        ids = tuple(sample.id for sample in samples)
        self.subject = replace(
            study.subject,
            split=samples.split,
            ids=ids,
            keys=tuple(self.evaluator.sample_keys()),
            images=tuple(self.evaluator.image_keys()),
            tokens=tuple(self.evaluator.sample_tokens(ids)),
        )
        check_apart(
            dict(zip(study.subject.ids, study.subject.images, strict=True)),
            dict(zip(ids, self.subject.images, strict=True)),
        )
        check_unchanged(own.metric, study.subject.context["metric"])
        self.evaluated = 0
        self._study = study
        self._samples = samples
        self._progress = progress

    def values(
        self,
        name: str,
        schedule: Schedule,
        subject: Subject | None = None,
        evaluate: Evaluate | None = None,
    ) -> list[float]:
        """Score of every sample.

        Args:
            name: What the progress bar says.
            schedule: What is evaluated.
            subject: Where it is not this set as it is.
            evaluate: As `subject`.

        Raises:
            EvaluationError: The schedule cannot be evaluated.
        """
        executor = LocalExecutor(evaluate or self.evaluator.evaluate)
        scoring = Scoring(self._study.name, subject or self.subject, self._study.store, executor)
        scores = scoring.scores(schedule, self._progress(name))
        self.evaluated += scoring.evaluated
        return [one.score for one in scores]

    def row(self, name: str, what: str, schedule: Schedule, against: Sequence[float] | None) -> Row:
        """The row of a schedule, paired with `against` where that is given."""
        values = self.values(name, schedule)
        costs, keep = self.subject.costs(schedule), fmean(schedule.keep)
        return _row(name, what, values, against, costs, keep)

    def at_equal_cost(
        self,
        name: str,
        what: str,
        family: Family,
        params: Mapping[str, float],
        ranker: RankerSpec,
        flops: float,
        against: Sequence[float],
    ) -> Row:
        """The row of a family's schedule with this FLOPs ratio on these samples."""
        subject = self.subject
        try:
            budget = Budget("flops", flops)
            schedule = family.schedule(params, budget, subject.shape, subject.tokens, ranker)
            return self.row(name, what, schedule, against)
        except (InputError, EvaluationError) as error:
            return Row(name, what, reason=str(error))

    def smaller_images(self, flops: float, against: Sequence[float]) -> Row:
        """The row of the full model on images that cost this FLOPs ratio."""
        name, what = "downsampled image", "the full model on smaller images"
        own, subject = self.evaluator, self.subject
        try:
            downsampler = Downsampler(own.model, own.processor)
            grid = downsampler.grid_within(flops, subject.tokens)
            what += f", {grid.rows} x {grid.columns} patches, position embeddings interpolated"
            processor = downsampler.processor(grid)
            evaluator = Evaluator(own.model, processor, self._samples, own.metric, against=own)
            tokens = tuple(evaluator.sample_tokens(subject.ids))
            context = {**subject.context, "downsampled": f"{grid.rows} x {grid.columns}"}
            smaller = replace(subject, tokens=tokens, context=context)

            def evaluate(task: Task) -> Sequence[SampleScore]:
                with downsampler.interpolating():
                    return evaluator.evaluate(task)

            values = self.values(name, subject.full, smaller, evaluate)
        except (InputError, EvaluationError) as error:
            return Row(name, what, reason=str(error))
        costs = prompt_ratios(subject.shape, tokens, subject.tokens)
        kept = sum(one.n_vision for one in tokens) / sum(one.n_vision for one in subject.tokens)
        return _row(name, what, values, against, costs, kept)


def _row(
    name: str,
    what: str,
    values: Sequence[float],
    against: Sequence[float] | None,
    costs: tuple[float, float],
    mean_keep: float,
) -> Row:
    return Row(
        name=name,
        what=what,
        score=intervals.of_scores(values),
        difference=None if against is None else intervals.paired_difference(values, against),
        flops_ratio=costs[0],
        kv_ratio=costs[1],
        mean_keep=mean_keep,
    )
