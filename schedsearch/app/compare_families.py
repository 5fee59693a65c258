"""Every family's best schedule under the same budgets, on samples that no search has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from schedsearch.app.bootstrap import Progress
from schedsearch.app.held_out import HeldOut
from schedsearch.app.samplers import resolve
from schedsearch.app.study import Study
from schedsearch.core.budget import Budget
from schedsearch.core.comparison import Row
from schedsearch.core.families.layerwise import Layerwise
from schedsearch.core.families.withdraw import Withdraw
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement
from schedsearch.errors import InputError, RunError
from schedsearch.execution.inquiry import EvaluationError
from schedsearch.execution.moment import Moment
from schedsearch.samplers import SAMPLERS
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.settings import SamplerSettings

OURS = "P-Sigmoid"
FASTV = "FastV"
VTW = "VTW"
VTW_ABOVE = "VTW, above budget"


@dataclass(frozen=True)
class FamilySearch:
    """A family and how its best member is looked for.

    Attributes:
        name: What tables call it.
        what: What it is, in words.
        family: Name of the family.
        sampler: Name of the sampler.
    """

    name: str
    what: str
    family: str
    sampler: str = "bayes"

    def section(self, budget: Mapping[str, float], trials: int, first: int) -> SamplerSettings:
        """The search section of its study."""
        settings: dict[str, Any] = {
            "sampler": self.sampler,
            "family": self.family,
            "budget": dict(budget),
            "trials": trials,
            "first": first,
        }
        return SAMPLERS[self.sampler].model_validate(settings)


FAMILY_SEARCHES = (
    FamilySearch(OURS, "a falling sigmoid with a floor", "sigmoid"),
    FamilySearch("logistic", "the sigmoid without a floor", "logistic"),
    FamilySearch("linear", "a straight line, cut off at 0 and 1", "linear"),
    FamilySearch(FASTV, "everything before a layer, one share after it", "step"),
    FamilySearch("PyramidDrop", "the same factor at even stairs", "staircase"),
    FamilySearch(VTW, "everything before a layer, nothing after it", "withdraw"),
    FamilySearch("uniform", "one share from the first layer on", "uniform"),
    FamilySearch("random monotone", "falling schedules at random", "layerwise", "random-monotone"),
)


@dataclass(frozen=True)
class Entry:
    """A search's best schedule under a budget.

    Attributes:
        row: What it is worth on held-out samples, minus P-Sigmoid's, paired.
        evaluations: Schedules tried on the calibration set.
        schedule: The best of them there; None where the budget is out of reach.
        calibration: What it was worth on the calibration set.
    """

    row: Row
    evaluations: int = 0
    schedule: Schedule | None = None
    calibration: Measurement | None = None


@dataclass(frozen=True)
class AtBudget:
    """All families under one budget.

    Attributes:
        budget: As it was given.
        flops: The FLOPs ratio of P-Sigmoid's schedule on the calibration set.
        entries: P-Sigmoid first.
    """

    budget: str
    flops: float
    entries: tuple[Entry, ...]

    @property
    def ahead(self) -> Mapping[str, bool]:
        """Entries whose held-out mean is above P-Sigmoid's, and whether the interval excludes 0."""
        found = {one.row.name: one.row.difference for one in self.entries}
        return {name: d.low > 0 for name, d in found.items() if d is not None and d.value > 0}

    def beaten(self, name: str) -> bool | None:
        """Whether P-Sigmoid is better and the interval excludes 0; None where there is no entry."""
        rows = {one.row.name: one.row for one in self.entries}
        found = rows[name].difference if name in rows else None
        return None if found is None else found.high < 0


@dataclass(frozen=True)
class FamilyComparison:
    """What `schedsearch compare` measured.

    Attributes:
        study: Name of the study that gave model, data, metric and ranker.
        data: Name of the held-out set.
        data_digest: Hash of its content.
        samples: How many there are.
        calibration_samples: How many each evaluation of a search had.
        metric: Name of the metric; larger is better.
        trials: The most schedules that each search could try, under each budget.
        full: Score of the full model.
        rounds: One for each budget.
        found: The study's own result at its own cost, beside; None where it has none.
    """

    study: str
    data: str
    data_digest: str
    samples: int
    calibration_samples: int
    metric: str
    trials: int
    full: Interval
    rounds: tuple[AtBudget, ...]
    found: Entry | None


def compare_families(
    study: Study,
    held_out: SampleSet,
    budgets: Sequence[Budget],
    trials: int,
    progress: Progress,
) -> FamilyComparison:
    """Search the best schedule of every family under every budget, then compare on held-out data.

    Each search is a study of its own in the store of `study`, named after it, so what was
    interrupted goes on where it was. All use the ranker of `study` and its calibration set, and
    each may try as many schedules; families with fewer members are tried out.

    Args:
        study: Gives model, ranker, metric, store and calibration samples.
        held_out: Samples that no search has seen.
        budgets: In any measure but milliseconds.
        trials: The most schedules that each family may try under each budget.
        progress: Starts a progress bar by name.

    Raises:
        InputError: P-Sigmoid cannot reach a budget.
        DataError: A held-out sample is a calibration sample too, or there are fewer than two.
        KeyboardInterrupt: The user has had enough; what was found is stored.
    """
    bench = HeldOut(study, held_out, progress)
    full = bench.row("full model", "all layers process all vision tokens", bench.subject.full, None)
    rounds = tuple(_at_budget(study, bench, budget, trials, progress) for budget in budgets)
    assert full.score is not None
    return FamilyComparison(
        study=study.name,
        data=held_out.name,
        data_digest=held_out.digest(),
        samples=len(bench.subject.ids),
        calibration_samples=len(study.subject.ids),
        metric=study.spec.metric,
        trials=trials,
        full=full.score,
        rounds=rounds,
        found=_found(study, bench),
    )


def _at_budget(
    study: Study, bench: HeldOut, budget: Budget, trials: int, progress: Progress
) -> AtBudget:
    ours = _entry(study, bench, FAMILY_SEARCHES[0], budget, trials, progress, None)
    if ours.schedule is None or ours.calibration is None:
        raise InputError(f"`--budget {budget}`: {ours.row.reason}")
    against = bench.values(f"{OURS}, {budget}", ours.schedule)
    others = [
        _entry(study, bench, one, budget, trials, progress, against) for one in FAMILY_SEARCHES[1:]
    ]
    scaled = _scaled(study, bench, budget, against)
    beside = [one for one in (_vtw_above(study, bench, others, against), scaled) if one]
    return AtBudget(str(budget), ours.calibration.flops_ratio, (ours, *others, *beside))


def _entry(
    study: Study,
    bench: HeldOut,
    search: FamilySearch,
    budget: Budget,
    trials: int,
    progress: Progress,
    against: Sequence[float] | None,
) -> Entry:
    name, what = search.name, search.what
    config = search.section({budget.measure.name: budget.amount}, trials, study.sampler.first)
    named = f"{study.name}, {budget}, {name}, {trials} trials"
    tell = progress(f"{name}, {budget}")

    def show(moment: Moment) -> None:
        tell(moment.status.asked, trials)

    try:
        searching = resolve(config, study.subject, named, study.store)
        spec = replace(study.spec, name=named, search=searching.plain())
        spec = replace(spec, ranker=study.ranker, rankers=())
        own = Study(spec, study.subject, study.executor, study.store)
        ending = own.run(on_moment=show).ending
        if ending == "interrupted":
            raise KeyboardInterrupt
        if ending in ("paused", "stopped"):
            raise RunError(f"study `{named}` was {ending}; compare again to go on")
        best = own.best_trial
        tried = sum(trial.state.finished for trial in own.trials)
        row = bench.row(name, what, best.schedule, against)
    except (InputError, EvaluationError) as error:
        return Entry(Row(name, what, reason=str(error)))
    return Entry(row, tried, best.schedule, best.measurement)


def _found(study: Study, bench: HeldOut) -> Entry | None:
    """The study's own result, where it has one."""
    best = study.sampler.best(study.trials)
    if best is None:
        return None
    name, what = study.sampler.name, f"the result of study {study.name}, at its own cost"
    try:
        row = bench.row(name, what, best.schedule, None)
    except EvaluationError as error:
        return Entry(Row(name, what, reason=str(error)))
    return Entry(row, len(study.trials), best.schedule, best.measurement)


def _vtw_above(
    study: Study, bench: HeldOut, others: Sequence[Entry], against: Sequence[float]
) -> Entry | None:
    """VTW one layer later, which costs more than the budget: whole layers do not use it up."""
    below = next(one.schedule for one in others if one.row.name == VTW)
    if below is None:
        return None
    family, layers = Withdraw(study.sampler.first), study.subject.shape.layers
    layer = sum(ratio > 0 for ratio in below.keep) + 1
    if layer > layers:
        return None
    schedule = family.at({"layer": layer}, layers, below.ranker)
    what = "VTW one layer later: the least that costs the budget or more"
    try:
        return Entry(bench.row(VTW_ABOVE, what, schedule, against), schedule=schedule)
    except EvaluationError as error:
        return Entry(Row(VTW_ABOVE, what, reason=str(error)))


def _scaled(study: Study, bench: HeldOut, budget: Budget, against: Sequence[float]) -> Entry | None:
    """The curve of a G-Search, scaled to the budget; nothing is searched for it."""
    best = study.sampler.best(study.trials)
    if best is None or not isinstance(study.sampler, GSearch):
        return None
    subject, family = study.subject, Layerwise(study.sampler.first)
    name, what = "G-Search, scaled", "the curve that G-Search found, scaled to the budget"
    try:
        point = family.read(best.schedule.keep)
        schedule = family.schedule(
            point, budget, subject.shape, subject.tokens, best.schedule.ranker
        )
        return Entry(bench.row(name, what, schedule, against), schedule=schedule)
    except (InputError, EvaluationError) as error:
        return Entry(Row(name, what, reason=str(error)))
