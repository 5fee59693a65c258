"""A study's sampler as a searcher of Ray Tune."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from schedsearch.core.trial import Trial
from schedsearch.execution.loop import Run
from schedsearch.execution.scoring import NO_TRIAL
from schedsearch.execution.tune.desk import Decided
from schedsearch.execution.tune.executor import TuneExecutor
from schedsearch.store.store import Store

_WAIT = 0.2
"""Seconds that Tune's loop waits for a trial; it looks after those at work meanwhile, too."""


class TuneStudy(Protocol):
    """What is known here of a study, as `schedsearch.app.open.open_study` opens it."""

    @property
    def name(self) -> str:
        """In the store."""

    @property
    def store(self) -> Store:
        """Where it is kept."""

    @property
    def executor(self) -> Any:
        """A `TuneExecutor`."""

    def run(
        self,
        n_trials: int | None = None,
        timeout: float | None = None,
        callbacks: Sequence[Callable[[Any, Trial], None]] = (),
    ) -> Run:
        """Search."""


class StudySearcher(Searcher):
    """Suggests what the study's sampler asks; the study's loop runs beside Tune's, in a thread.

    The number of trials is given here, and `num_samples=-1` to Tune: trials that the store has are
    not run again, and keep-all, which every study needs first, is a trial of Tune (-1) but none of
    the study. A search that was interrupted goes on with a new `Tuner`; Tune's own record of an
    experiment is not needed for that.

    Args:
        study: Opened with a `TuneExecutor`; close it after Tune has ended, not before.
        n_trials: Close at most this many trials.
        timeout: Open no trial after this many seconds.

    Attributes:
        run: How the search ended; None before.
    """

    def __init__(
        self, study: TuneStudy, n_trials: int | None = None, timeout: float | None = None
    ) -> None:
        super().__init__()
        self.run: Run | None = None
        self._study = study
        self._executor: TuneExecutor = study.executor
        self._limits = n_trials, timeout
        self._numbers: dict[str, int] = {}
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return number and parameters of a trial that waits.

        Raises:
            SchedsearchError: The search has failed.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._search, name="study", daemon=True)
            self._executor.search = self._thread
            self._thread.start()
        number = self._executor.claim(_WAIT)
        if number is not None:
            self._numbers[trial_id] = number
            return {"trial": number, **self._params(number)}
        if self._thread.is_alive():
            return None
        if self._failure is not None:
            raise self._failure
        return Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Have another trial of Tune go on where one has ended before the study's had."""
        del result, error
        if (number := self._numbers.pop(trial_id, None)) is not None:
            self._executor.lost(number, trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the store has all."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the store has all."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave all but Tune's part out of its record of the experiment."""
        return {"_metric": self._metric, "_mode": self._mode}

    def _search(self) -> None:
        n_trials, timeout = self._limits
        try:
            self.run = self._study.run(n_trials, timeout, [self._closed])
        except BaseException as error:
            self._failure = error
        finally:
            self._executor.dismiss()

    def _closed(self, _study: object, trial: Trial) -> None:
        self._executor.decide(trial.number, _decided(trial))

    def _params(self, number: int) -> Mapping[str, Any]:
        if number == NO_TRIAL:
            return {}
        return self._study.store.trials(self._study.name, after=number - 1)[0].params


def _decided(trial: Trial) -> Decided:
    """What Tune shows; only a complete trial has a score."""
    found: dict[str, Any] = {"state": str(trial.state)}
    if measured := trial.measurement:
        found |= {"score": measured.score, "flops_ratio": measured.flops_ratio}
        found |= {} if measured.drop is None else {"drop": measured.drop}
    return found
