"""Commands for searches on a Ray cluster: submit, resume, jobs, workers, logs."""

import shlex
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schedsearch.cli.options import AsJson, GpusPerWorker, Server, Workers, server_of
from schedsearch.cli.output import errors, output, print_json, show, table
from schedsearch.cli.search_display import SearchDisplay
from schedsearch.cli.studies import DEFAULT_STORE, StorePath, StudyFile, StudyName
from schedsearch.cli.watch import POLL, Closed
from schedsearch.errors import InputError, RunError

if TYPE_CHECKING:
    from schedsearch.execution.cluster.jobs import Job, Jobs
    from schedsearch.store.store import Store
    from schedsearch.store.studies import StudySummary

_AT: Any = typer.Option(
    "--address",
    envvar="RAY_API_SERVER_ADDRESS",
    help="Of the dashboard of a Ray cluster, such as http://head:8265.",
)
Cluster = Annotated[str, _AT]
Detach = Annotated[
    bool, typer.Option("--detach", help="Do not follow it; the store need not be reached.")
]

_PLAIN: Any = {"markup": False, "highlight": False, "soft_wrap": True}
_LINES = 3
"""Last lines of a failed job's log that are shown."""


def submit(
    file: StudyFile,
    address: Cluster,
    store: StorePath = DEFAULT_STORE,
    pass_store: Annotated[
        bool,
        typer.Option(
            "--pass-store",
            help="Tell the cluster this store, which must hold no password; default: what "
            "SCHEDSEARCH_STORE says there.",
        ),
    ] = False,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Search a study file on a Ray cluster as a job, or go on with it, and follow that."""
    from schedsearch.app.config import read_study_file

    config = read_study_file(file)
    jobs = _jobs(address)

    from schedsearch.app.stores import check_idle
    from schedsearch.app.submitting import submit as begin

    if not detach:
        check_idle(store, config.study)
    told = store if pass_store else None
    asked = {"workers": workers, "gpus_per_worker": gpus_per_worker}
    id = begin(jobs, config, file.parent, told, **asked)
    _submitted(jobs, id, config.study, store, detach, as_json)


def resume(
    context: typer.Context,
    study: StudyName,
    address: Annotated[str | None, _AT] = None,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a search that was submitted, as it was, and follow that; or start it at a service.

    No file is needed.
    """
    if (url := server_of(context, server)) is not None:
        from schedsearch.cli import remote_search

        remote_search.resume(url, study, detach, as_json)
        return
    if address is None:
        raise InputError(
            "`--address` or `--server` must say where the search was begun; one of this machine "
            "goes on with `schedsearch search FILE`"
        )
    jobs = _jobs(address)

    from schedsearch.app.stores import check_idle
    from schedsearch.app.submitting import resume as begin

    if not detach:
        check_idle(store, study)
    _submitted(jobs, begin(jobs, study), study, store, detach, as_json)


def _submitted(jobs: "Jobs", id: str, study: str, store: str, detach: bool, as_json: bool) -> None:
    """Follow a job unless that is not wanted."""
    errors.print(f"job {id} is submitted to {jobs.address}", **_PLAIN)
    if not detach:
        try:
            _follow(jobs, id, study, store)
        except KeyboardInterrupt:
            again = shlex.join(["schedsearch", "watch", study])
            errors.print(f"the search goes on at the cluster; follow it with: {again}", **_PLAIN)
            raise typer.Exit(130) from None
    if as_json:
        print_json(_found(jobs, id))
    elif not detach:
        output.print(f"the search of {study} has ended", **_PLAIN)


def list_jobs(address: Cluster, as_json: AsJson = False) -> None:
    """List the searches that were submitted to a Ray cluster."""
    found = _jobs(address).all()
    if as_json:
        print_json(found)
        return
    rows = table("job", "study", "state", "submitted", "ended", "node", "message")
    for one in found:
        times = [f"{time:%Y-%m-%d %H:%M}" if time else "" for time in (one.submitted, one.ended)]
        rows.add_row(one.id, escape(one.study), one.state, *times, one.node, escape(one.message))
    show(rows)


def list_workers(address: Cluster, as_json: AsJson = False) -> None:
    """List the workers on a Ray cluster: on which node each is, for which study, and doing what."""
    found = _jobs(address).workers()
    if as_json:
        print_json(found)
        return
    rows = table("study", "job", "node", "process", "state", "doing")
    for one in found:
        process = str(one.pid) if one.pid else ""
        rows.add_row(escape(one.study), one.job, escape(one.node), process, one.state, one.doing)
    show(rows)


def logs(job: Annotated[str, typer.Argument(help="As `jobs` has it.")], address: Cluster) -> None:
    """Print what a job has written."""
    cluster = _jobs(address)
    if cluster.find(job) is None:
        raise InputError(f"{cluster.address} has no job {job!r:.100} of ours; see `jobs`")
    output.print(cluster.log(job), end="", **_PLAIN)


def _jobs(address: str) -> "Jobs":
    from schedsearch.execution.cluster.jobs import Jobs

    return Jobs(address)


def _found(jobs: "Jobs", id: str) -> "Job":
    found = jobs.find(id)
    if found is None:
        raise RunError(f"{jobs.address} knows no job {id} any more; submit again to go on")
    return found


def _follow(jobs: "Jobs", id: str, study: str, store: str) -> None:
    """Draw what the store tells until the job has ended.

    Raises:
        RunError: The job fails, or has searched in another store.
    """
    from schedsearch.store.store import find_store

    opened: Store | None = None
    closed: Closed | None = None
    try:
        with SearchDisplay(study) as display:
            for _ in _until_ended(jobs, id):
                opened = opened or find_store(store)
                found = None if opened is None else _study(opened, study)
                if opened is None or found is None:
                    continue
                closed = closed or Closed(opened, study)
                for trial in closed.new():
                    display.report(trial)
                if found.progress is not None:
                    display.draw(found.progress, found.silence or 0.0)
        _check_succeeded(jobs, id)
        if closed is None:
            raise RunError(
                f"job {id} has ended, but the store here has no study `{study}`: the cluster's "
                "SCHEDSEARCH_STORE names another one; name that by --store"
            )
    finally:
        if opened is not None:
            opened.close()


def _until_ended(jobs: "Jobs", id: str) -> Iterator[None]:
    """Look after look, and one after the job has ended."""
    while True:
        ended = _found(jobs, id).has_ended
        yield
        if ended:
            return
        time.sleep(POLL)


def _study(store: "Store", study: str) -> "StudySummary | None":
    return next((one for one in store.studies() if one.spec.name == study), None)


def _check_succeeded(jobs: "Jobs", id: str) -> None:
    job = _found(jobs, id)
    if job.state != "SUCCEEDED":
        said = " | ".join(jobs.log(id).strip().splitlines()[-_LINES:]) or job.message
        raise RunError(
            f"job {id} is {job.state}: {said}; remove the cause, then submit its file again"
        )
