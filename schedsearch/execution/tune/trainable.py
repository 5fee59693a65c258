"""A study as a trainable of Ray Tune: it evaluates what the study's loop asks."""

from typing import Any

import ray
from ray import tune

from schedsearch.execution.executor import Worker
from schedsearch.execution.tune.executor import TuneExecutor


class StudyTrainable(tune.Trainable):
    """One trial of a study, a task at each step; opens a worker once, also for several trials."""

    _worker: Worker

    def setup(self, config: dict[str, Any], **parts: Any) -> None:
        """Open the worker."""
        self._desk = parts["desk"]
        self._worker = parts["open_worker"]()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turn to another trial, with the same worker."""
        self._number = new_config["trial"]
        self._samples = 0
        return True

    def step(self) -> dict[str, Any]:
        """Evaluate a task, or say what became of the trial."""
        taken = ray.get(self._desk.take.remote(self._number, self.trial_id))
        if not isinstance(taken, tuple):
            return {"done": True, "samples": self._samples, **taken}
        ticket, task = taken
        found = self._worker.evaluate(task)
        ray.get(self._desk.give.remote(ticket, found))
        self._samples += len(found.scores)
        return {"samples": self._samples}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: the study's store has all that has ended."""


def study_trainable(executor: TuneExecutor) -> Any:
    """What Tune runs, for `StudySearcher` with a study of this executor.

    Use `tune.with_resources` to give a trial more than a CPU, and `reuse_actors=True` to load the
    model once for many trials.

    Args:
        executor: Of the study.
    """
    return tune.with_parameters(
        StudyTrainable, desk=executor.desk, open_worker=executor.open_worker
    )
