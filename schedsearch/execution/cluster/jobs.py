"""Coordinators as jobs of a Ray cluster: submitted, listed, looked at."""

import hashlib
import logging
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.job_submission import JobSubmissionClient
from ray.util.state import list_actors, list_nodes, list_tasks

from schedsearch.core.shown import shown
from schedsearch.errors import InputError, RunError
from schedsearch.execution.cluster.connection import NAMESPACE, knock, said, without_traceback

T = TypeVar("T")

_STUDY = "schedsearch"
"""Key of a job's metadata that names its study."""

_ADDRESS = "RAY_API_SERVER_ADDRESS"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_DOING = {"begin": "opens the model", "call": "evaluates"}
"""By the methods of a worker's `Host`; the others take no time."""

_LONGEST = 60
_ADDRESSING = Lock()
_CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")


@dataclass(frozen=True)
class Job:
    """A coordinator that was submitted to a cluster.

    Attributes:
        id: Ray's submission id.
        study: Name of the study.
        state: As Ray says it: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        submitted: When.
        ended: When; None before.
        node: Address of its node; empty where Ray does not say.
        message: What Ray says of its state.
        command: What it runs.
    """

    id: str
    study: str
    state: str
    submitted: datetime | None
    ended: datetime | None
    node: str
    message: str
    command: str

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes of it any more."""
        return self.state in _ENDED


@dataclass(frozen=True)
class ClusterWorker:
    """A worker of a search.

    Attributes:
        study: What it evaluates for; empty where its coordinator is no job.
        job: Submission id of that.
        node: Name of its node, and the beginning of Ray's id of it.
        pid: Its process there; 0 before it has one.
        state: As Ray says it: ALIVE, or PENDING_CREATION where it waits for room.
        doing: What it does, as Ray knew about a second ago.
    """

    study: str
    job: str
    node: str
    pid: int
    state: str
    doing: str


def job_id(study: str, version: int, attempt: int) -> str:
    """Submission id of an attempt at a study, which Ray takes once.

    It is part of paths and addresses, so a name with other characters has a digest instead.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", study)[:_LONGEST]
    if name != study or not name[:1].isalnum():
        name = f"{name.lstrip('._-')}-{hashlib.sha256(study.encode()).hexdigest()[:8]}".lstrip("-")
    return f"{name}.v{version}" + (f".{attempt}" if attempt > 1 else "")


class Jobs:
    """The jobs of a cluster that are coordinators.

    Args:
        address: Of its dashboard, such as http://head:8265.

    Raises:
        InputError: It is no such address.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise InputError(
                f"`--address` must be that of a cluster's dashboard, such as http://head:8265, but "
                f"got {shown(address)}; correct it"
            )
        self.address = address.rstrip("/")
        self._made: JobSubmissionClient | None = None

    def submit(
        self,
        id: str,
        study: str,
        command: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
    ) -> None:
        """Have a command run in a copy of a folder.

        Args:
            id: Of the job.
            study: Whose coordinator it is.
            command: Program and arguments, which anyone on the cluster may read.
            folder: Travels there.
            variables: Of its environment, which anyone may read, too.

        Raises:
            RunError: Ray refuses it, as it does where there was such a job.
        """
        for name in _CHATTY:  # they tell where the folder lies, which is gone soon
            logging.getLogger(name).setLevel(logging.WARNING)
        environment = {"working_dir": str(folder), "env_vars": dict(variables)}
        self._said(
            lambda: self._client().submit_job(
                entrypoint=shlex.join(command),
                submission_id=id,
                runtime_env=environment,
                metadata={_STUDY: study},
            )
        )

    def repeat(self, former: str, id: str) -> None:
        """Have what a job has run, with the folder that had travelled, run once more.

        Args:
            former: That job.
            id: Of the new one.

        Raises:
            RunError: Ray refuses it, or has that folder no more: it keeps it for ten minutes after
                the job, and where a node has it for longer.
        """

        def submit() -> None:
            details = self._client().get_job_info(former)
            self._client().submit_job(
                entrypoint=details.entrypoint,
                submission_id=id,
                runtime_env=details.runtime_env,
                metadata=details.metadata,
            )

        self._said(submit)

    def all(self) -> list[Job]:
        """All of them, oldest first.

        Raises:
            RunError: The cluster does not answer.
        """
        found = [_job(one) for one in self._details() if _STUDY in (one.metadata or {})]
        return sorted(found, key=lambda one: (one.submitted is None, one.submitted, one.id))

    def find(self, id: str) -> Job | None:
        """A job; None where the cluster has none of this id.

        Raises:
            RunError: The cluster does not answer.
        """
        return next((one for one in self.all() if one.id == id), None)

    def log(self, id: str) -> str:
        """What a job has written.

        Raises:
            RunError: There is none, or the cluster does not answer.
        """
        written: str = self._said(lambda: self._client().get_job_logs(id))
        return written

    def workers(self) -> list[ClusterWorker]:
        """Workers of all searches on the cluster that live or wait for room.

        Raises:
            RunError: The cluster does not answer.
        """
        jobs = {one.job_id: one for one in self._details() if _STUDY in (one.metadata or {})}
        nodes = {
            one.node_id: f"{one.node_name} (node {one.node_id[:6]})"
            for one in self._asked(list_nodes)
        }
        running = [("state", "=", "RUNNING"), ("type", "=", "ACTOR_TASK")]
        tasks = {
            one.actor_id: _DOING[method]
            for one in self._asked(list_tasks, filters=running)
            if (method := one.name.rpartition(".")[2]) in _DOING
        }
        found = []
        filters = [("ray_namespace", "=", NAMESPACE), ("state", "!=", "DEAD")]
        for one in self._asked(list_actors, filters=filters):
            job = jobs.get(one.job_id)
            study = (job.metadata or {})[_STUDY] if job else ""
            submission = (job.submission_id or "") if job else ""
            node = nodes.get(one.node_id or "", "")
            idle = "idle" if one.state == "ALIVE" else "waits for room"
            doing = tasks.get(one.actor_id, idle)
            found.append(
                ClusterWorker(study, submission, node, one.pid or 0, str(one.state), doing)
            )
        return sorted(found, key=lambda one: (one.job, one.node, one.pid))

    def _details(self) -> list[JobDetails]:
        found: list[JobDetails] = self._said(lambda: self._client().list_jobs())
        return found

    def _asked(self, what: Callable[..., Any], **options: Any) -> Any:
        def ask() -> Any:
            with _at(self.address):
                return what(self.address, limit=10_000, **options)

        return self._said(ask)

    def _client(self) -> JobSubmissionClient:
        if self._made is None:
            parts = urlsplit(self.address)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            knock(f"{parts.hostname or ''}:{port}")
            with _at(self.address):
                self._made = JobSubmissionClient(self.address)
        return self._made

    def _said(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Exception as error:  # Ray raises whatever
            raise RunError(
                f"the Ray cluster at {self.address} says no: {said(error)}; see that its "
                "dashboard is there, and where it asks for a token set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from None


class _at:
    """The environment in which Ray goes where it is told to: its variables go before arguments."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        _ADDRESSING.acquire()
        self._former = os.environ.get(_ADDRESS)
        os.environ[_ADDRESS] = self._address

    def __exit__(self, *_error: object) -> None:
        if self._former is None:
            del os.environ[_ADDRESS]
        else:
            os.environ[_ADDRESS] = self._former
        _ADDRESSING.release()


def _job(details: JobDetails) -> Job:
    driver = details.driver_info
    return Job(
        details.submission_id or "",
        (details.metadata or {})[_STUDY],
        str(details.status.value),
        _time(details.start_time),
        _time(details.end_time),
        driver.node_ip_address if driver else "",
        without_traceback(details.message or ""),
        details.entrypoint,
    )


def _time(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)
