"""The search on the client's host: `python -m tests.hosts.client STORE RAY LOG SECONDS`."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executors.ray import RayExecutor
from tests.chaos.coordinator import Search, Watched, subject
from tests.chaos.witness import Witness
from tests.unit.execution.synthetic import FunctionWorker

WORKERS = 2


@dataclass(frozen=True)
class Opening:
    """Opens workers whose tasks take so long."""

    watched: Watched
    seconds: float

    def __call__(self) -> "Slow":
        return Slow(self)


class Slow:
    """Waits, and evaluates."""

    def __init__(self, opening: Opening) -> None:
        self._seconds = opening.seconds
        self._inner = FunctionWorker(opening.watched)

    def evaluate(self, task: Task) -> Evaluated:
        time.sleep(self._seconds)
        return self._inner.evaluate(task)


def main(store: str, address: str, log: str, seconds: str) -> None:
    """Search until the search is finished."""

    def pool(watched: Watched) -> RayExecutor:
        options = ClusterOptions(address=address, workers=WORKERS)
        return RayExecutor(Opening(watched, float(seconds)), options)

    run = Search(store, Witness(Path(log), subject())).search(executor=pool)
    assert run.ending == "finished", run.ending


if __name__ == "__main__":
    main(*sys.argv[1:])
