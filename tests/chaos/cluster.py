"""Searches whose workers are on a Ray cluster of several nodes, all on this machine."""

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ray.cluster_utils import Cluster

from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.executors.ray import RayExecutor
from schedsearch.execution.pace import Pace
from tests.chaos.coordinator import Watched
from tests.unit.execution.synthetic import FunctionWorker

ADDRESS = "RAY_ADDRESS"
WORKERS = 2

Moment = Literal["before its task", "in its task", "after its task"]
"""`in its task`: it has the scores, and nobody else has."""

Target = Literal["worker", "node", "raylet"]


class Nodes:
    """A cluster: a node that drivers are on, without workers, and two with room for one each."""

    def __init__(self) -> None:
        quick = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 300,
            "health_check_timeout_ms": 1000,
            "health_check_failure_threshold": 5,
        }
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": quick}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.refill()

    @property
    def address(self) -> str:
        address: str = self._cluster.address
        return address

    def refill(self) -> None:
        """Replace nodes that are lost."""
        for node in list(self._cluster.worker_nodes):
            if not node.remaining_processes_alive():
                self._cluster.remove_node(node, allow_graceful=False)
        while len(self._cluster.worker_nodes) < WORKERS:
            self.add()

    def add(self) -> None:
        self._cluster.add_node(num_cpus=1)

    def remove(self) -> None:
        """Kill a node that has workers."""
        node = next(iter(self._cluster.worker_nodes))
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_drivers_node(self) -> None:
        self._cluster.head_node.kill_raylet(check_alive=False)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@cache
def nodes() -> Nodes:
    """The cluster of this process, for all faults."""
    made = Nodes()
    os.environ[ADDRESS] = made.address
    return made


def end() -> None:
    """Take the cluster down."""
    if nodes.cache_info().currsize:
        nodes().shutdown()
        nodes.cache_clear()
        os.environ.pop(ADDRESS, None)


@dataclass(frozen=True)
class Trouble:
    """Opens workers of which one harms itself, or its node, once.

    Attributes:
        folder: Where it is noted who worked, and that the harm was done.
        target: What is harmed; None: nothing.
        moment: When.
        number: At which of all tasks of the search, from 1.
        how: By which signal.
        pause: Seconds that each task takes besides.
    """

    folder: Path
    target: Target | None = None
    moment: Moment = "in its task"
    number: int = 1
    how: int = signal.SIGKILL
    pause: float = 0.0

    def __call__(self, watched: Watched) -> RayExecutor:
        """The executor of a coordinator; what hangs is given a few seconds."""
        hasty = Pace(least=2.0, first=6.0, straggling=float("inf"))
        return RayExecutor(_Opening(self, watched), ClusterOptions(workers=WORKERS), hasty)

    @property
    def workers(self) -> int:
        """How many have worked."""
        return len(list(self.folder.glob("worker-*")))

    @property
    def done(self) -> bool:
        return (self.folder / "harm").exists()

    def harm(self, watched: Watched) -> None:
        with suppress(FileExistsError):
            os.close(os.open(self.folder / "harm", os.O_CREAT | os.O_EXCL))
            watched.witness.say("fault")
            raylet = os.getppid()
            if self.target != "worker":
                os.kill(raylet, self.how)
            if self.target != "raylet":
                os.kill(os.getpid(), self.how)


@dataclass(frozen=True)
class _Opening:
    trouble: Trouble
    watched: Watched

    def __call__(self) -> "_Worker":
        (self.trouble.folder / f"worker-{os.getpid()}").touch()
        return _Worker(self.trouble, self.watched)


class _Worker:
    def __init__(self, trouble: Trouble, watched: Watched) -> None:
        self._trouble = trouble
        self._watched = watched
        self._inner = FunctionWorker(watched)

    def evaluate(self, task: Task) -> Evaluated:
        trouble, watched = self._trouble, self._watched
        begun = sum(one.what == "evaluated" for one in watched.witness.events)
        chosen = trouble.target is not None and begun + 1 >= trouble.number and not trouble.done
        if chosen and trouble.moment == "before its task":
            trouble.harm(watched)
        time.sleep(trouble.pause)
        found = self._inner.evaluate(task)
        if chosen and trouble.moment == "in its task":
            trouble.harm(watched)
        if chosen and trouble.moment == "after its task":
            threading.Timer(0.02, trouble.harm, [watched]).start()
        return found
