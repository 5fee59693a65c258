"""A study as users hold it: search, ask for more, look at trials, take the result."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from schedsearch.core.plugin import ParamValue
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
from schedsearch.store.store import Store, open_store

if TYPE_CHECKING:
    from schedsearch.engine.evaluator import Evaluator


def make_sampler(spec: StudySpec) -> GSearch:
    """The sampler of a study, from its specification alone.

    Raises:
        InputError: Its settings are out of range.
    """
    settings: dict[str, Any] = dict(spec.sampler.params)
    for name in _LISTS:
        settings[name] = tuple(map(int, str(settings.get(name, "")).split()))
    return GSearch(**settings, ranker=spec.ranker, questions=spec.questions)


def sampler_settings(chosen: Mapping[str, Any], subject: Subject) -> dict[str, ParamValue]:
    """Settings that the user chose, with those that follow from model and calibration set."""
    settings = {
        **chosen,
        "layers": subject.shape.layers,
        "n_max": max(subject.n_visions),
        "n_visions": subject.n_visions,
    }
    if settings["screens"] is None:
        gallops = settings["method"] == "gallop" and math.isfinite(subject.greatest)
        settings["screens"] = default_screens(len(subject.ids)) if gallops else ()
    for screen in settings["screens"]:
        if screen >= len(subject.ids):
            raise InputError(
                f"`screens` must be fewer than the {len(subject.ids)} calibration samples, but got "
                f"{screen}; leave it out for a twelfth of them"
            )
    return settings | {name: " ".join(map(str, settings[name])) for name in _LISTS}


def default_screens(samples: int) -> tuple[int, ...]:
    """How many samples are asked before all of them, where the user does not say.

    A screen saves work because it can reject, which needs a bounded metric.
    """
    return (samples // 12,) if samples // 12 >= _FEWEST else ()


# Settings that are several numbers; a specification holds them as text.
_LISTS = ("n_visions", "screens", "guess")

# A smaller screen saves nothing: its batches would hardly fill a processor.
_FEWEST = 8


@dataclass(frozen=True)
class Layers:
    """How the search settled one layer.

    Attributes:
        layer: The layer.
        count: Vision tokens of the result, on the largest prompt.
        keep: The same as a ratio.
        questions: Trials that asked about this layer.
    """

    layer: int
    count: int
    keep: float
    questions: int


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
    def nesting(self) -> Nesting:
        """How often keeping more was rejected where keeping less was accepted."""
        return self.sampler.nesting(self.trials)

    def layers(self) -> list[Layers]:
        """Result and number of questions, layer by layer."""
        counts = self.best.counts(self.sampler.n_max)
        asked = [trial.params.get("layer") for trial in self.trials if trial.params.get("pass")]
        return [
            Layers(layer, count, self.best.keep[layer], asked.count(layer))
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
    """

    def __init__(
        self,
        spec: StudySpec,
        subject: Subject,
        evaluator: "Evaluator",
        store: str | os.PathLike[str],
    ) -> None:
        make_sampler(spec)  # a study that cannot be searched must not take its name
        opened = open_store(store)
        try:
            opened.create_study(spec)
            super().__init__(opened, spec.name)
        except BaseException:
            opened.close()
            raise
        self.subject = subject
        self.evaluator = evaluator
        executor = LocalExecutor(self._evaluate, lambda: evaluator.work)
        self.scoring = Scoring(spec.name, subject, opened, executor, cuts=self.sampler.screens)

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
