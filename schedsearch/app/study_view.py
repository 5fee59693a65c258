"""What a store knows of a study, without its model: trials, result, frontier."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, cast

from schedsearch.app.samplers import make_sampler
from schedsearch.core.certificate import Certification, standing
from schedsearch.core.comparison import Comparison, Loss, loss_of
from schedsearch.core.pareto import (
    Costs,
    costs,
    full,
    hypervolume,
    pareto,
    reference,
    within_budget,
    within_drop,
)
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Effort, Trial
from schedsearch.errors import InputError, ScheduleError
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.nesting import Nesting
from schedsearch.samplers.sampler import StudySampler
from schedsearch.samplers.which_ranker import Rung, WhichRanker
from schedsearch.store.store import Store

if TYPE_CHECKING:
    from schedsearch.samplers.frontier import Frontier


@dataclass(frozen=True)
class Layers:
    """How the search settled one layer.

    Attributes:
        layer: The layer.
        count: Vision tokens of the result, on the largest prompt.
        keep: The same as a ratio.
        trials: Trials that asked about this layer; None of searches that do not ask so.
    """

    layer: int
    count: int
    keep: float
    trials: int | None


@dataclass(frozen=True)
class FrontierView:
    """What a study knows of quality at every cost.

    Attributes:
        cost: What costs are: `FLOPs ratio`, or what the search has measured instead.
        trials: Those that no other beats in both cost and drop; cost rising.
        costs: Cost and drop of each of them.
        reference: Cost and drop from which on a trial is worth nothing.
        hypervolume: The area that the trials so far dominate, after each trial by number.
    """

    cost: str
    trials: tuple[Trial, ...]
    costs: tuple[tuple[float, float], ...]
    reference: tuple[float, float]
    hypervolume: tuple[float, ...]


class StudyView:
    """A study in a store, without its model: what has been found so far.

    Args:
        store: The store.
        name: Name of the study.

    Attributes:
        asking: Who asks the questions.

    Raises:
        InputError: The store has no study of that name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.spec = store.study(name).spec  # having read all else of the study
        self.asking = make_sampler(self.spec)
        self._moment: tuple[list[Trial], Effort] | None = None
        self._best: Trial | None = None  # of that moment
        self._front: list[Trial] | None = None  # likewise

    def snapshot(self) -> Self:
        """The study as it is now, whatever is searched meanwhile."""
        if self._moment is not None:
            return self
        taken = copy.copy(self)
        taken._moment = self.store.moment(self.name)
        return taken

    @property
    def sampler(self) -> StudySampler:
        """Who searches: with the ranker that was found, where that is to be found out first."""
        asking = self.asking
        return asking.search(self.trials) if isinstance(asking, WhichRanker) else asking

    @property
    def ranker(self) -> RankerSpec:
        """The study's ranker; of several the one that was found, before that the first."""
        asking = self.asking
        found = asking.chosen(self.trials) if isinstance(asking, WhichRanker) else None
        return found or self.spec.ranker

    @property
    def rungs(self) -> list[Rung]:
        """How the ranker was found, round by round; empty where there was but one."""
        asking = self.asking
        return asking.rungs(self.trials) if isinstance(asking, WhichRanker) else []

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return list(self._moment[0]) if self._moment else self.store.trials(self.name)

    @property
    def best_trial(self) -> Trial:
        """The accepted trial whose schedule is the result so far.

        Raises:
            InputError: There is none yet.
        """
        best = self._best
        if best is None:
            best = self.sampler.best(self.trials)
        if self._moment is not None:
            self._best = best
        if best is None:
            raise InputError(
                f"study `{self.name}` has no result yet: no trial is complete; run the search first"
            )
        return best

    @property
    def best(self) -> Schedule:
        """The schedule of `best_trial`.

        Raises:
            InputError: There is none yet.
        """
        return self.best_trial.schedule

    @property
    def certification(self) -> Certification | None:
        """The latest that proved something and that no later one took back, else the latest."""
        return standing(self.store.certifications(self.name))

    @property
    def certified(self) -> Schedule | None:
        """The cheapest schedule that is proven, with its certificate; None where none is."""
        best = self.certification and self.certification.best
        return best.schedule if best else None

    @property
    def comparison(self) -> Comparison | None:
        """What held-out samples last said of a result of this study; None where none were asked."""
        return self.store.comparison(self.name)

    def current(self, comparison: Comparison) -> bool:
        """Whether a comparison is of the result so far, and of what is certified."""
        if comparison.certified is not None and comparison.certified.schedule != self.certified:
            return False
        return comparison.schedule == self.best

    @property
    def compared(self) -> Comparison | None:
        """The comparison, where it is of the result so far."""
        known = self.comparison
        return known if known is not None and self.current(known) else None

    def loss(self, schedule: Schedule) -> Loss | None:
        """What a schedule loses on samples that did not choose it; None where none were asked.

        The certify samples choose what is certified, and so say it of the found schedule alone.
        """
        compared, proven = self.comparison, self.certification
        if compared is not None:
            for one in (compared, compared.certified):
                if one is not None and one.schedule == schedule:
                    return Loss(compared.data, one.drop)
        if proven is not None and proven.found.schedule == schedule:
            return loss_of(proven)
        return None

    def created(self, trial: Trial | None = None) -> datetime:
        """When a trial was measured; without one, when the proof of `certified` was begun."""
        if trial is None:
            proofs = self.store.certifications(self.name)
            times = zip(self.store.certification_times(self.name), proofs, strict=True)
            stands = standing(proofs)
            return next(time for time, proof in times if proof == stands)
        ends = [attempt.ended for attempt in self.store.attempts(self.name, trial.number)]
        return next(filter(None, reversed(ends)), None) or self.store.study(self.name).created

    @property
    def finished(self) -> bool:
        """Whether the search has asked everything it wanted to know."""
        return self.sampler.finished(self.trials)

    @property
    def effort(self) -> Effort:
        """What the search has cost so far, in full-forward equivalents."""
        return self._moment[1] if self._moment else self.store.effort(self.name)

    @property
    def nesting(self) -> Nesting | None:
        """How often keeping more was rejected where keeping less was accepted.

        None of searches that neither accept nor reject.
        """
        sampler = self.sampler
        return sampler.nesting(self.trials) if isinstance(sampler, GSearch) else None

    @property
    def frontier(self) -> FrontierView:
        """Quality at every cost that was tried, whatever the search was for."""
        trials, cost, sampler = self.trials, self.costs, self.sampler
        if sampler.name == "frontier":
            worth_nothing = cast("Frontier", sampler).reference(trials)
        else:
            worth_nothing = reference([costs(trial)[1] for trial in trials if full(trial)])
        front = pareto(trials, cost)
        return FrontierView(
            self.cost,
            tuple(front),
            tuple(map(cost, front)),
            worth_nothing,
            tuple(hypervolume(trials, worth_nothing, cost)),
        )

    @property
    def cost(self) -> str:
        """What costs are in this study: `FLOPs ratio`, or what its frontier is made of."""
        sampler = self.sampler
        frontier = sampler.name == "frontier"
        return cast("Frontier", sampler).budget.measure.unit if frontier else "FLOPs ratio"

    @property
    def costs(self) -> Callable[[Trial], Costs]:
        """Cost, as `cost` says, and drop of a trial that was measured on all samples."""
        sampler = self.sampler
        return cast("Frontier", sampler).costs if sampler.name == "frontier" else costs

    def pick(self, budget: float | None = None, max_drop: float | None = None) -> Trial:
        """The best trial of at most this cost, or the cheapest with at most this drop.

        Args:
            budget: Greatest cost, as `cost` says.
            max_drop: Greatest drop, in the unit of the metric; with `budget` both must hold.

        Returns:
            A trial measured on all samples; `best_trial` where neither is given.

        Raises:
            InputError: There is none.
        """
        if budget is None and max_drop is None:
            return self.best_trial
        front, cost = self._undominated(), self.costs
        if budget is not None:
            best = within_budget(front, budget, cost)
            front = [trial for trial in front if cost(trial)[0] <= budget]
        return best if max_drop is None else within_drop(front, max_drop, cost)

    def _undominated(self) -> list[Trial]:
        """The trials that no other beats in both cost and drop."""
        front = self._front
        if front is None:
            front = pareto(self.trials, self.costs)
        if self._moment is not None:
            self._front = front
        return front

    def layers(self) -> list[Layers]:
        """Result and number of trials, layer by layer."""
        best = self.best
        counts = best.counts(self.sampler.n_max)
        asked = [trial.params.get("layer") for trial in self.trials if trial.params.get("pass")]
        by_layer = isinstance(self.sampler, GSearch)
        return [
            Layers(layer, count, best.keep[layer], asked.count(layer) if by_layer else None)
            for layer, count in enumerate(counts)
        ]

    def trials_dataframe(self) -> Any:
        """One row per trial, as a pandas data frame.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("`trials_dataframe` needs pandas; pip install pandas") from None
        return pandas.DataFrame([trial_row(trial) for trial in self.trials])

    def enqueue(self, schedule: Schedule) -> Trial:
        """Have this schedule evaluated too, before anything else the search asks.

        A schedule that is waiting, running or complete already is not added again. The sampler
        uses the answer where it would have asked the same, ranker included; the result of the
        search is always a schedule that the sampler settled on.

        Raises:
            ScheduleError: It has another number of layers than the model, or an unknown ranker.
        """
        from schedsearch.reduction.rankers import make_ranker

        make_ranker(schedule.ranker)
        if schedule.layers != self.sampler.layers:
            raise ScheduleError(
                f"`keep` must have one ratio for each of {self.sampler.layers} decoder layers, "
                f"but got {schedule.layers}"
            )
        return self.store.enqueue(self.name, schedule)


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial as flat columns, for tables and CSV files."""
    measured = trial.measurement
    names = ("score", "standard_error", "drop", "drop_standard_error", "flops_ratio", "kv_ratio")
    return {
        "number": trial.number,
        "state": str(trial.state),
        "samples": trial.samples,
        "read": trial.read,
        **{name: getattr(measured, name, None) for name in (*names, "n")},
        **{f"params_{name}": value for name, value in trial.params.items()},
        **{f"keep_{layer}": keep for layer, keep in enumerate(trial.schedule.keep)},
        "reason": trial.reason,
    }
