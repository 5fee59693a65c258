"""A real Ray cluster that asks for a token, whose environment names the store."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from ray._private.authentication_test_utils import reset_auth_token_state

from schedsearch.core.trial import Trial
from schedsearch.errors import RunError
from schedsearch.execution.cluster.jobs import Job, Jobs
from schedsearch.store.process import Process
from schedsearch.store.store import find_store, open_store
from tests.ports import unused_port

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
SECONDS = 480
_PASSING = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")


class TokenCluster:
    """Nodes on this machine, each a `ray start` of its own.

    Args:
        folder: Of Ray and the token; a short path, as sockets need.
        cpus: Of each node, of which the first is the head.
        store: What its environment calls the store.

    Attributes:
        folder: That.
        store: That.
        address: Of the dashboard.
        clients: Address for those that are no node.
        env: Of whoever starts a node.
    """

    def __init__(self, folder: Path, cpus: tuple[int, ...], store: str) -> None:
        self.folder = folder
        self.store = store
        port, dashboard = unused_port(), unused_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        (folder / "token").write_text("a-token-of-this-test-alone-0123456789")
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_TMPDIR": str(folder),
            "SCHEDSEARCH_STORE": store,
        }
        head = [f"--port={port}", f"--dashboard-port={dashboard}"]
        clients = unused_port()
        self.clients = f"ray://127.0.0.1:{clients}"
        head += [f"--ray-client-server-port={clients}"]
        self._start("--head", *head, cpus=cpus[0])
        for count in cpus[1:]:
            self._start(f"--address=127.0.0.1:{port}", cpus=count)

    def _start(self, *options: str, cpus: int) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        command = [ray, "start", *options, f"--num-cpus={cpus}", "--disable-usage-stats"]
        command += [f"--dashboard-agent-listen-port={unused_port()}"]  # one for each node of a host
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.address)

    def is_ready(self) -> bool:
        """Whether it takes jobs: the agents of its nodes come up last."""
        (self.folder / "empty").mkdir(exist_ok=True)
        with suppress(RunError):
            self.jobs.submit("first", "", ["true"], self.folder / "empty", {})
            return True
        return False

    def ended(self, id: str) -> Job:
        """The job, once it has ended."""
        return until(lambda: (job := self.jobs.find(id)) and job.has_ended and job or None)

    def coordinator(self, study: str, trials: int) -> Process:
        """The process that searches a study, once so many trials are closed."""

        def look() -> Process | None:
            if (store := find_store(self.store)) is None:
                return None
            with store:
                found = [one for one in store.studies() if one.spec.name == study]
                closed = [one for one in store.trials(study) if one.state.finished] if found else []
                return found[0].holder if len(closed) >= trials and found else None

        return until(look)

    def trials(self, study: str) -> list[Trial]:
        with open_store(self.store, read_only=True) as store:
            return store.trials(study)


@contextmanager
def token_cluster(*cpus: int, store: str | None = None) -> Iterator[TokenCluster]:
    """A cluster that takes jobs, also of this process; it ends with the block.

    Args:
        cpus: Of each node.
        store: What its environment calls the store; None: a file in its folder.
    """
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # noqa: S108 - sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
        try:
            made = TokenCluster(folder, cpus, store or str(folder / "store.db"))
            for name in _PASSING:
                patch.setenv(name, made.env[name])
            reset_auth_token_state()  # Ray has read the environment when it was imported
            until(made.is_ready)
            yield made
        finally:
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get("HOME") == str(folder):
                        process.kill()
            shutil.rmtree(folder, ignore_errors=True)
    reset_auth_token_state()


def until(look: Callable[[], T | None]) -> T:
    """What a look finds at last."""
    end = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < end, "that takes too long"
        time.sleep(0.2)
    return found
