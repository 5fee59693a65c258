"""Schedules on samples that no search has seen, paired by sample."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from schedsearch.app.bootstrap import Progress
from schedsearch.app.samplers import former_spec
from schedsearch.app.scorers import check_unchanged
from schedsearch.app.splits import check_apart
from schedsearch.app.study import Study
from schedsearch.app.subjects import subject_of
from schedsearch.core import intervals
from schedsearch.core.budget import Budget
from schedsearch.core.comparison import Row
from schedsearch.core.families.base import Family
from schedsearch.core.flops import prompt_ratios
from schedsearch.core.sample import SampleSet, Split, used_as
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.subject import Subject
from schedsearch.errors import InputError
from schedsearch.execution.inquiry import EvaluationError
from schedsearch.execution.scoring import Scoring


class HeldOut:
    """Evaluates schedules on samples that no search has seen, and pairs them with one of them.

    Scores go through the study's store, so what was interrupted goes on where it was. They belong
    to no trial.

    Args:
        study: Gives model, metric, store, and the calibration samples.
        samples: The held-out set.
        progress: Starts a progress bar by name.
        split: What it serves.

    Attributes:
        subject: Of the held-out set.
        evaluated: Samples that were really evaluated, not found in the store.

    Raises:
        DataError: A held-out sample is a calibration sample too, or there are fewer than two.
        InputError: The scorer has changed since the study was opened, or a study that this one
            begins with was searched on this very set.
    """

    def __init__(
        self, study: Study, samples: SampleSet, progress: Progress, split: Split = "held-out"
    ) -> None:
        identity = study.subject.context["metric"]
        samples = used_as(samples, split)
        study.executor.tell("add_set", samples)
        self.subject = subject_of(study.executor, samples.split, identity=identity)
        seen = dict(zip(study.subject.ids, study.subject.images, strict=True))
        own = dict(zip(self.subject.ids, self.subject.images, strict=True))
        check_apart({study.subject.split: seen}, self.subject.split, own)
        check_unseen(study, samples)
        check_unchanged(identity, study.metric_identity())
        self.evaluated = 0
        self._study = study
        self._progress = progress

    def values(
        self,
        name: str,
        schedule: Schedule,
        subject: Subject | None = None,
    ) -> list[float]:
        """Score of every sample.

        Args:
            name: What the progress bar says.
            schedule: What is evaluated.
            subject: Where it is not this set as it is.

        Raises:
            EvaluationError: The schedule cannot be evaluated.
        """
        study = self._study
        scoring = Scoring(study.name, subject or self.subject, study.store, study.executor)
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
        workers, subject = self._study.executor, self.subject
        identity = subject.context["metric"]
        try:
            grid = workers.ask("grid_within", subject.split, flops)
            what += f", {grid.rows} x {grid.columns} patches, position embeddings interpolated"
            smaller = subject_of(workers, subject.split, grid, identity)
            values = self.values(name, subject.full, smaller)
        except (InputError, EvaluationError) as error:
            return Row(name, what, reason=str(error))
        costs = prompt_ratios(subject.shape, smaller.tokens, subject.tokens)
        kept = sum(one.n_vision for one in smaller.tokens) / sum(
            one.n_vision for one in subject.tokens
        )
        return _row(name, what, values, against, costs, kept)


def check_unseen(study: Study, samples: SampleSet) -> None:
    """Refuse a set on which a study was searched that this one begins with, directly or not.

    Or a part of such a set. By digest: a store does not know which images another study has seen.

    Raises:
        InputError: It is one.
    """
    specs, looked_at = [study.spec], {study.name}
    while specs:
        for start in specs.pop().search.get("warm_start", ()):
            name = start.removeprefix("study:")
            if name == start or name in looked_at:
                continue
            looked_at.add(name)
            spec = former_spec(name, study.store)
            if spec is None:
                continue
            if spec.calibration_digest in _digests(samples):
                raise InputError(
                    f"study `{study.name}` begins with the result of study `{name}` "
                    f"(`warm_start`), which was searched on {samples.name}: these samples chose "
                    f"what they are to judge; give other {samples.split} samples, or search under "
                    "another name without that start"
                )
            specs.append(spec)


def _digests(samples: SampleSet | None) -> Iterator[str]:
    """Of a set, and of those that it is a part of."""
    while samples is not None:
        yield samples.digest()
        samples = getattr(samples, "whole", None)


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
