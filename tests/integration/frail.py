"""Workers that die, hang, dawdle or talk, once or always; what they did stands in a folder."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schedsearch.core.trial import Evaluated, Task
from schedsearch.errors import DeviceError, InputError
from tests.unit.execution.synthetic import FunctionWorker, evaluate


@dataclass(frozen=True)
class Frail:
    """Opens workers that are as they should be, but for one sample.

    Attributes:
        folder: Where they leave a file for every task that they begin, named for its process.
        fault: What happens with a task that has sample q1; where it ends with "late", to workers
            besides the first, which open once there is a file `go`.
        times: How many times.
    """

    folder: Path
    fault: str
    times: int = 1

    def __call__(self) -> "FrailWorker":
        late = self.fault.endswith("late") and not self._first
        if late:
            (self.folder / f"late-{os.getpid()}").touch()
            self.wait_for("go")
        if self.fault == "refuses" or (late and self.fault == "refuses late"):
            raise InputError("`model` /models/llava is a path, but the folder does not exist")
        if self.fault == "dies opening":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hangs opening":
            time.sleep(600)
        return FrailWorker(self, late)

    @property
    def _first(self) -> bool:
        """Whether no worker was opened before."""
        try:
            (self.folder / "first").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def wait_for(self, name: str) -> None:
        """Return once there is a file of this name."""
        while not (self.folder / name).exists():
            time.sleep(0.02)

    @property
    def begun(self) -> list[Path]:
        """Tasks with sample q1 that were begun, in order."""
        return sorted(self.folder.glob("begun-*"), key=lambda path: path.stat().st_mtime_ns)


class FrailWorker:
    def __init__(self, way: Frail, late: bool = False) -> None:
        self._way = way
        self._late = late
        self._inner = FunctionWorker(evaluate)

    def evaluate(
        self, task: Task, on_progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> Evaluated:
        if "q1" in task.sample_ids:
            before = len(self._way.begun)
            (self._way.folder / f"begun-{os.getpid()}-{before}").touch()
            if before < self._way.times:
                self._suffer(on_progress)
        return self._inner.evaluate(task)

    def who(self) -> int:
        """Process of the worker; the first one dies of the question."""
        if self._way.fault == "errs":
            return 1 // 0
        asked = self._way.folder / "asked"
        if self._way.fault == "killed by a question" and not asked.exists():
            asked.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    def identity(self) -> dict[str, object]:
        weights: object = os.getpid() if self._way.fault == "differs" else "c0ffee"
        if self._late and self._way.fault == "differs late":
            weights = "decaf"
        return {"weights": weights, "device": "cpu"}

    def think(self) -> int:
        """Process of the worker, once there is a file `enough`."""
        (self._way.folder / "asked").touch()
        self._way.wait_for("enough")
        return os.getpid()

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def _suffer(self, on_progress: Callable[[int, int], None]) -> None:
        fault = self._way.fault
        while fault == "never ends":
            on_progress(0, 1)
            time.sleep(0.02)
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hangs":
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault == "dawdles":
            self._way.wait_for("enough")
        if fault == "device":
            raise DeviceError.of("CUDA error: unspecified launch failure")
        if fault == "talks":
            logging.getLogger("a.library").warning("weights are odd")
            warnings.warn("attention is slow", UserWarning, stacklevel=1)
