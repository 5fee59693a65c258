"""Work on a study after its trials, which others see and may stop as they do its search."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from schedsearch.app.bootstrap import Progress
from schedsearch.app.study import Study
from schedsearch.core import progress as standing
from schedsearch.core.reading import OnProgress
from schedsearch.errors import SchedsearchError
from schedsearch.execution.heartbeat import Heartbeat, StopStudy
from schedsearch.execution.loop import Ending, Run
from schedsearch.execution.pulse import Pulse
from schedsearch.store.lease import LeaseLostError

log = logging.getLogger(__name__)


@contextmanager
def attended(study: Study, run: Run, progress: Progress) -> Iterator["Attended"]:
    """Hold the lease of a study while the block runs, and tell the store where that stands.

    A block that somebody wishes to stop or to pause, here or while the last trial was at work, or
    that Ctrl-C ends, has ended so; what it has stored stays.

    Args:
        study: With a result.
        run: What has found it.
        progress: Starts a progress bar by name.

    Raises:
        RunError: Another process coordinates the study, or does by now.
    """
    store, work = study.store, Attended(study, run, progress)
    wished = store.study(study.name).wish
    with store.lease(study.name) as lease:
        work.pulse = pulse = Pulse(store, lease, work.standing)
        heard = store.beat(lease, work.standing())
        pulse.wish = heard if wished == "run" else wished
        try:
            with Heartbeat(work.beat).at_work():
                yield work
        except StopStudy:
            work.ending = "paused" if pulse.wish == "pause" else "stopped"
        except KeyboardInterrupt:
            work.ending = "interrupted"
        try:
            store.beat(lease, work.standing())
        except LeaseLostError:
            raise
        except SchedsearchError as error:
            log.info("others may not see how this has ended: %s", error)


class Attended:
    """The work at hand.

    Attributes:
        ending: How it has ended, once it has.
    """

    def __init__(self, study: Study, run: Run, progress: Progress) -> None:
        self.ending: Ending = "finished"
        self.pulse: Pulse | None = None
        self._executor = study.executor
        self._run = run
        self._progress = progress
        self._began = time.monotonic()
        self._evaluated = 0
        self._at = "", 0, 0

    def beat(self) -> None:
        """Tell and hear.

        Raises:
            StopStudy: Somebody wishes so.
            LeaseLostError: Somebody else coordinates the study by now.
        """
        assert self.pulse is not None
        self.pulse.beat()
        self._obey()

    def start(self, name: str) -> OnProgress:
        """Start a progress bar, here and for others, which ends what others wish to stop."""
        shown = self._progress(name)
        before: int | None = None

        def tell(done: int, samples: int) -> None:
            nonlocal before
            if before is not None:
                self._evaluated += done - before
            before = done
            self._at = name, done, samples
            shown(done, samples)
            self._obey()

        return tell

    def standing(self) -> standing.Progress:
        """Where it stands."""
        name, done, samples = self._at
        seconds = time.monotonic() - self._began
        best = self._run.best and self._run.best.measurement
        return standing.Progress(
            trial=None,
            done=done,
            samples=samples,
            phase=f"the result is judged: {name}" if name else "the result is judged",
            layer=None,
            low=None,
            high=None,
            closed=self._run.closed,
            trials_left=0,
            evaluated=self._evaluated,
            seconds=seconds,
            pace=self._evaluated / seconds if seconds else 0.0,
            seconds_left=None,
            best_flops_ratio=best.flops_ratio if best else None,
            best_drop=best.drop if best else None,
            workers=getattr(self._executor, "seen", tuple)(),
        )

    def _obey(self) -> None:
        assert self.pulse is not None
        self.pulse.obey()
        if self.pulse.wish == "pause":
            raise StopStudy("another process has asked for a pause")
