"""Studies that are submitted to a cluster: packed, and their coordinator begun there as a job."""

import shlex
import tempfile
from pathlib import Path
from typing import Any

from schedsearch.app.config import StudyConfig, check_study
from schedsearch.app.parcel import STUDY, pack
from schedsearch.core.shown import shown
from schedsearch.errors import InputError, RunError
from schedsearch.execution.cluster.jobs import Job, Jobs, job_id
from schedsearch.store.address import file_of, holds_secret, name_of, url_of
from schedsearch.store.launches import Launch

PYTHON = ("python", "-P", "-m")
"""That of the cluster's environment; nothing is imported from the folder that has travelled."""

RAY = "ray"

_COMMAND = (*PYTHON, "schedsearch.app.submitted", STUDY)


def submit(jobs: Jobs, config: StudyConfig, folder: Path, store: str | None, **run: Any) -> str:
    """Have a study searched on a cluster, or searched on where its last job has ended.

    Args:
        jobs: The cluster.
        config: The study file.
        folder: What its paths are relative to.
        store: Where its results go, as the cluster reaches it; None: what SCHEDSEARCH_STORE says
            in the environment of the cluster.
        **run: As for `pack`.

    Returns:
        Id of the job.

    Raises:
        InputError: The file cannot be used, or the address of the store is not for others to read.
        RunError: The cluster does not take it, or is at it already.
    """
    variables = {} if store is None else readable_store(store)
    former = [one for one in jobs.all() if one.study == config.study]
    _check_ended(former)
    id = job_id(config.study, 1, len(former) + 1)
    with tempfile.TemporaryDirectory(prefix="schedsearch-") as place:
        pack(config, folder, Path(place), **run)
        jobs.submit(id, config.study, _COMMAND, Path(place), variables)
    return id


def resume(jobs: Jobs, study: str) -> str:
    """Have a study searched on that was submitted: as it was, from what the cluster has of it.

    Args:
        jobs: The cluster.
        study: Its name.

    Returns:
        Id of the job.

    Raises:
        InputError: The cluster knows no such study.
        RunError: The cluster is at it already, or a service has begun it.
    """
    former = [one for one in jobs.all() if one.study == study]
    if not former:
        raise InputError(
            f"{jobs.address} has no job of a study {shown(study)}; see `schedsearch jobs`, or "
            "submit its file"
        )
    _check_ended(former)
    if former[-1].command != shlex.join(_COMMAND):
        raise RunError(
            f"study `{study}` was begun by a service, which also begins it again; name that by "
            "--server"
        )
    id = job_id(study, 1, len(former) + 1)
    jobs.repeat(former[-1].id, id)
    return id


def _check_ended(former: list[Job]) -> None:
    for job in former:
        if not job.has_ended:
            raise RunError(
                f"job {job.id} is {job.state}, and is the coordinator of study `{job.study}`; "
                f"follow it with `schedsearch watch`, end it with `schedsearch stop`, or wait"
            )


def readable_store(store: str) -> dict[str, str]:
    """The variable of a job that names its store, which all who see the cluster may read.

    Raises:
        InputError: They must not.
    """
    url = url_of(store)
    if holds_secret(url):
        raise InputError(
            f"the address {name_of(url)} may hold a password, and Ray shows what is passed to a "
            "job; set SCHEDSEARCH_STORE in the environment of the cluster's nodes and leave it out "
            "here, or write the address without it and have a password file (PGPASSFILE) there"
        )
    file = file_of(url)
    return {"SCHEDSEARCH_STORE": str(file.absolute()) if file else store}


class RayBackend:
    """Coordinators are jobs of a Ray cluster.

    Args:
        store: Address of the store. The cluster is told it unless it may hold a password; then
            SCHEDSEARCH_STORE has to be set there.
        address: Of the cluster's dashboard.
        **run: As for `pack`, of every study.

    Raises:
        InputError: It is no such address.
    """

    name = RAY

    def __init__(self, store: str, address: str, **run: Any) -> None:
        self._variables = {} if holds_secret(url_of(store)) else readable_store(store)
        self._jobs = Jobs(address)
        self._run = run

    def begin(self, launch: Launch) -> None:
        """Submit a job with all files that the study names."""
        config = check_study(launch.content, launch.study)
        with tempfile.TemporaryDirectory(prefix="schedsearch-") as place:
            pack(config, Path(place), Path(place), **self._run)
            command = [*PYTHON, "schedsearch.app.launched", launch.study, str(launch.attempt)]
            id = _id(launch)
            self._jobs.submit(id, launch.study, [*command, STUDY], Path(place), self._variables)

    def lives(self, launch: Launch) -> bool | None:
        """Ask Ray; it knows no job of a cluster that was before it, which took its jobs along."""
        try:
            job = self._jobs.find(_id(launch))
        except RunError:
            return None
        return job is not None and not job.has_ended


def _id(launch: Launch) -> str:
    return job_id(launch.study, launch.version, launch.attempt)
