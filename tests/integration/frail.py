"""Workers that die, hang, dawdle or talk, once or always; what they did stands in a folder."""

import logging
import os
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from schedsearch.core.trial import Evaluated, Task
from schedsearch.errors import InputError
from tests.unit.execution.synthetic import FunctionWorker, evaluate


@dataclass(frozen=True)
class Frail:
    """Opens workers that are as they should be, but for one sample.

    Attributes:
        folder: Where they leave a file for every task that they begin, named for its process.
        fault: What happens with a task that has sample q1.
        times: How many times.
    """

    folder: Path
    fault: str
    times: int = 1

    def __call__(self) -> "FrailWorker":
        if self.fault == "refuses":
            raise InputError("`model` /models/llava is a path, but the folder does not exist")
        if self.fault == "dies opening":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hangs opening":
            time.sleep(600)
        return FrailWorker(self)

    @property
    def begun(self) -> list[Path]:
        """Tasks with sample q1 that were begun, in order."""
        return sorted(self.folder.glob("begun-*"), key=lambda path: path.stat().st_mtime_ns)


class FrailWorker:
    def __init__(self, way: Frail) -> None:
        self._way = way
        self._inner = FunctionWorker(evaluate)

    def evaluate(self, task: Task) -> Evaluated:
        if "q1" in task.sample_ids:
            before = len(self._way.begun)
            (self._way.folder / f"begun-{os.getpid()}-{before}").touch()
            if before < self._way.times:
                self._suffer()
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
        differs = self._way.fault == "differs"
        return {"weights": os.getpid() if differs else "c0ffee", "device": "cpu"}

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def _suffer(self) -> None:
        fault = self._way.fault
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hangs":
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault == "dawdles":
            while not (self._way.folder / "enough").exists():
                time.sleep(0.02)
        if fault == "talks":
            logging.getLogger("a.library").warning("weights are odd")
            warnings.warn("attention is slow", UserWarning, stacklevel=1)
