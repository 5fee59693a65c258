"""A study as users hold it: search, ask for more, look at trials, take the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from schedsearch.app.samplers import make_sampler
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
from schedsearch.core.schedule import Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Effort, Task, Trial
from schedsearch.errors import InputError, ScheduleError
from schedsearch.execution.executor import LocalExecutor
from schedsearch.execution.loop import Limits, OnMoment, OnTrial, Run, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.execution.subject import Subject
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.nesting import Nesting
from schedsearch.store.store import Store

if TYPE_CHECKING:
    from schedsearch.engine.evaluator import Evaluator
    from schedsearch.samplers.frontier import Frontier


# Enough tasks that a trial can be stopped early, each large enough to fill a processor.
_TASKS, _LEAST_CHUNK, _MOST_CHUNK = 8, 8, 64


@dataclass(frozen=True)
class Layers:
    """How the search settled one layer.

    Attributes:
        layer: The layer.
        count: Vision tokens of the result, on the largest prompt.
        keep: The same as a ratio.
        questions: Trials that asked about this layer; None of searches that do not ask so.
    """

    layer: int
    count: int
    keep: float
    questions: int | None


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

    Raises:
        InputError: The store has no study of that name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.spec = store.spec(name)
        self.sampler = make_sampler(self.spec)

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return self.store.trials(self.name)

    @property
    def best_trial(self) -> Trial:
        """The accepted trial whose schedule is the result so far.

        Raises:
            InputError: There is none yet.
        """
        best = self.sampler.best(self.trials)
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
    def finished(self) -> bool:
        """Whether the search has asked everything it wanted to know."""
        return self.sampler.finished(self.trials)

    @property
    def effort(self) -> Effort:
        """What the search has cost so far, in full-forward equivalents."""
        return self.store.effort(self.name)

    @property
    def nesting(self) -> Nesting | None:
        """How often keeping more was rejected where keeping less was accepted.

        None of searches that neither accept nor reject.
        """
        return self.sampler.nesting(self.trials) if isinstance(self.sampler, GSearch) else None

    @property
    def frontier(self) -> FrontierView:
        """Quality at every cost that was tried, whatever the search was for."""
        trials, cost, sampler = self.trials, self._costs, self.sampler
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
        frontier = self.sampler.name == "frontier"
        return cast("Frontier", self.sampler).budget.unit if frontier else "FLOPs ratio"

    @property
    def _costs(self) -> Callable[[Trial], Costs]:
        frontier = self.sampler.name == "frontier"
        return cast("Frontier", self.sampler).costs if frontier else costs

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
        trials, cost = self.trials, self._costs
        if budget is not None:
            best = within_budget(trials, budget, cost)
            trials = [trial for trial in pareto(trials, cost) if cost(trial)[0] <= budget]
        if max_drop is not None:
            return within_drop(trials, max_drop, cost)
        return self.best_trial if budget is None else best

    def layers(self) -> list[Layers]:
        """Result and number of questions, layer by layer."""
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
        from schedsearch.engine.rankers import make_ranker

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


class Study(StudyView):
    """A study with its model at hand: it can be searched.

    Made by `schedsearch.search` and `schedsearch.app.open.open_study`; a context manager that
    closes the store.

    Args:
        spec: What is searched; the store has no other study of this name.
        subject: What is evaluated.
        evaluator: Evaluates it.
        store: Where the study is kept.

    Raises:
        InputError: The search cannot begin, or the study exists with another specification.
    """

    def __init__(
        self,
        spec: StudySpec,
        subject: Subject,
        evaluator: "Evaluator",
        store: Store,
    ) -> None:
        make_sampler(spec).ask([])  # a study that cannot be searched must not take its name
        store.create_study(spec)
        super().__init__(store, spec.name)
        self.subject = subject
        self.evaluator = evaluator
        executor = LocalExecutor(self._evaluate, lambda: evaluator.work)
        chunk = max(_LEAST_CHUNK, min(_MOST_CHUNK, len(subject.ids) // _TASKS))
        self.scoring = Scoring(spec.name, subject, store, executor, chunk, self.sampler.screens)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.store.close()

    def run(
        self,
        n_trials: int | None = None,
        timeout: float | None = None,
        callbacks: Sequence[Callable[["Study", Trial], None]] = (),
        on_moment: OnMoment = lambda _moment: None,
    ) -> Run:
        """Search on, until it is finished or a limit is reached.

        Args:
            n_trials: Close at most this many trials.
            timeout: Open no trial after this many seconds.
            callbacks: Called with the study and every trial closed; may raise `StopStudy`.
            on_moment: Called whenever there is progress to show.

        Raises:
            RunError: Another process searches this study, or a trial failed and the settings say
                to stop then.
        """
        bound: list[OnTrial] = [_Bound(self, callback) for callback in callbacks]
        return run_study(
            self.name,
            self.sampler,
            self.scoring,
            self.store,
            limits=Limits(n_trials, timeout),
            stop_on_failure=self.sampler.on_failure == "stop",
            on_trial=bound,
            on_moment=on_moment,
        )

    def _evaluate(self, task: Task) -> Sequence[Any]:
        return self.evaluator.evaluate(task)


@dataclass(frozen=True)
class _Bound:
    study: Study
    callback: Callable[[Study, Trial], None]

    def __call__(self, trial: Trial) -> None:
        self.callback(self.study, trial)
