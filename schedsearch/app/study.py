"""A study as users hold it: search, ask for more, look at trials, take the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from schedsearch.app.bootstrap import Progress, silent
from schedsearch.app.exhibits import SAMPLES, Recorded, exhibit
from schedsearch.app.sample_size import Told, tolerances
from schedsearch.app.samplers import make_sampler
from schedsearch.app.scorers import Identity, Watch, check_scorer, check_unchanged
from schedsearch.app.study_view import StudyView
from schedsearch.core.certificate import ALPHA, Certification
from schedsearch.core.sample import SampleSet
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.execution.executor import Executor
from schedsearch.execution.loop import Limits, OnMoment, OnTrial, Run, run_study
from schedsearch.execution.scoring import CHUNK, Scoring
from schedsearch.store.store import Store

if TYPE_CHECKING:
    from schedsearch.app.open import Calibration


# Enough tasks that a trial can be stopped early, each large enough to fill a processor.
_TASKS, _LEAST_CHUNK = 8, 8


class Study(StudyView):
    """A study with its model at hand: it can be searched.

    Made by `schedsearch.search` and `schedsearch.app.open.open_study`; a context manager that
    closes it.

    Args:
        spec: What is searched; the store has no other study of this name.
        subject: What is evaluated.
        executor: Has workers that evaluate it.
        store: Where the study is kept.

    Raises:
        InputError: The search cannot begin, or the study exists with another specification.
    """

    def __init__(
        self,
        spec: StudySpec,
        subject: Subject,
        executor: Executor,
        store: Store,
    ) -> None:
        self._identity = subject.context.get("metric", {})
        check_scorer(store, spec.name, spec.metric, self._identity)
        check_searchable(spec)
        store.create_study(spec)
        super().__init__(store, spec.name)
        self.subject = subject
        self.executor = executor
        chunk = max(_LEAST_CHUNK, min(CHUNK, len(subject.ids) // _TASKS))
        asking = self.asking
        self.scoring = Scoring(
            spec.name, subject, store, executor, chunk, asking.screens, asking.concurrent_trials
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the workers go, and the store; trials can still be looked at."""
        try:
            self.executor.close()
        finally:
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
            callbacks: Called with the study and every trial closed; one that raises
                `schedsearch.StopStudy` ends the run, and the next one goes on.
            on_moment: Called whenever there is progress to show.

        Raises:
            InputError: The scorer has changed since the study was opened.
            RunError: Another process searches this study, or a trial failed and the settings say
                to stop then.
        """
        check_unchanged(self._identity, self.metric_identity())
        bound: list[OnTrial] = [Watch(self._identity, self.metric_identity)]
        bound += [Told(*one, self.subject.span) for one in tolerances(self.spec.search)]
        bound += [_Bound(self, callback) for callback in callbacks]
        return run_study(
            self.name,
            self.asking,
            self.scoring,
            self.store,
            limits=Limits(n_trials, timeout),
            stop_on_failure=self.asking.on_failure == "stop",
            on_trial=bound,
            on_moment=on_moment,
        )

    def certify(
        self,
        samples: "Calibration",
        tolerance: float | None = None,
        *,
        tasks: Mapping[str, float] | None = None,
        alpha: float = ALPHA,
        per_image: int = 1,
        progress: Progress = silent,
    ) -> Certification:
        """Prove what the result loses at most, on samples that the search never saw.

        The same request again returns what came of it; a look at the same samples for another
        request is refused, since it would prove nothing.

        Args:
            samples: A sample set, rows with question, answer and image, or a JSONL file.
            tolerance: Greatest mean drop over all samples, in the unit of the metric; default: that
                of the search, or none where there are tasks.
            tasks: Greatest mean drop over the samples of a `kind`, by kind.
            alpha: Probability that the claim is wrong.
            per_image: Most samples that may share an image, in all that they are drawn from.
            progress: Called with the name of what takes long, and its result with (done, total).

        Returns:
            What is proven; `certification.best.schedule` is the cheapest schedule that is, None
            where nothing is.

        Raises:
            InputError: Something cannot be certified.
            RunError: A schedule cannot be evaluated.
        """
        from schedsearch.app.certify import certify, certify_set, demands_of

        return certify(
            self,
            certify_set(samples),
            demands_of(self.spec.search, tolerance, tasks or {}),
            alpha=alpha,
            per_image=per_image,
            progress=progress,
        )

    def exhibit(
        self,
        trial: int | None = None,
        samples: int = SAMPLES,
        *,
        held_out: SampleSet | None = None,
        again: bool = False,
        progress: Progress = silent,
    ) -> Recorded:
        """Record which tokens each layer kept of some samples; see `schedsearch.app.exhibits`."""
        return exhibit(self, trial, samples, held_out=held_out, again=again, progress=progress)

    def metric_identity(self) -> Identity:
        """What the metric's scores depend on now."""
        identity: Identity = self.executor.ask("metric_identity")
        return identity


def check_searchable(spec: StudySpec) -> None:
    """Refuse a study that cannot be searched before it takes its name.

    Raises:
        InputError: The search cannot begin.
    """
    make_sampler(spec).ask([])


@dataclass(frozen=True)
class _Bound:
    study: Study
    callback: Callable[[Study, Trial], None]

    def __call__(self, trial: Trial) -> None:
        self.callback(self.study, trial)
