"""Work on a study after its trials, which others see and may stop as they do its search."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from schedsearch.app.bootstrap import Progress
from schedsearch.app.study import Study
from schedsearch.core import progress as standing
from schedsearch.core.reading import OnProgress
from schedsearch.execution.heartbeat import Heartbeat, StopStudy
from schedsearch.execution.pulse import Pulse


@contextmanager
def attended(study: Study, progress: Progress) -> Iterator[Progress]:
    """Hold the lease of a study while the block runs, and tell the store where that stands.

    Args:
        study: With a result.
        progress: Starts a progress bar by name; to be used through what is given.

    Raises:
        StopStudy: Somebody wishes that it stops or pauses; what is stored stays.
        RunError: Another process coordinates the study.
    """
    told = _Told(study, progress)
    with study.store.lease(study.name) as lease:
        pulse = Pulse(study.store, lease, told.standing)

        def beat() -> None:
            pulse.beat()
            if pulse.wish == "pause":
                raise StopStudy("another process has asked for a pause")

        beat()
        with Heartbeat(beat).at_work():
            yield told.start


class _Told:
    """Progress by name, here and for others to read."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self._executor = study.executor
        self._best = study.best_trial.measurement
        self._closed = len(study.trials)
        self._progress = progress
        self._began = time.monotonic()
        self._evaluated = 0
        self._at = "", 0, 0

    def start(self, name: str) -> OnProgress:
        shown, before = self._progress(name), None

        def tell(done: int, samples: int) -> None:
            nonlocal before
            self._evaluated += done - (done if before is None else before)
            before = done
            self._at = name, done, samples
            shown(done, samples)

        return tell

    def standing(self) -> standing.Progress:
        name, done, samples = self._at
        seconds = time.monotonic() - self._began
        return standing.Progress(
            trial=None,
            done=done,
            samples=samples,
            phase=f"the result is judged: {name}" if name else "the result is judged",
            layer=None,
            low=None,
            high=None,
            closed=self._closed,
            trials_left=0,
            evaluated=self._evaluated,
            seconds=seconds,
            pace=self._evaluated / seconds if seconds else 0.0,
            seconds_left=None,
            best_flops_ratio=self._best.flops_ratio if self._best else None,
            best_drop=self._best.drop if self._best else None,
            workers=getattr(self._executor, "seen", tuple)(),
        )
