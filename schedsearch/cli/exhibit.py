"""The command that records exhibits."""

from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli.options import (
    MOST,
    Address,
    AsJson,
    Executor,
    GpusPerWorker,
    TrustRemoteCode,
    Workers,
    asked,
)
from schedsearch.cli.output import output, print_json, progress
from schedsearch.cli.studies import DEFAULT_STORE, StorePath, StudyFile
from schedsearch.core.exhibit import MOST_SAMPLES


def exhibit(
    file: StudyFile,
    trial: Annotated[
        int | None,
        typer.Option(min=0, max=MOST, help="Number of the trial; default: that of the result."),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_SAMPLES, help="How many; those that the schedule changes come first."
        ),
    ] = 16,
    held_out: Annotated[
        bool,
        typer.Option("--held-out", help="Of held-out samples, not of those of the search."),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Record also what is stored, and replace it.")
    ] = False,
    store: StorePath = DEFAULT_STORE,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Record which tokens each layer kept of a few samples, for reports and the dashboard."""
    from schedsearch.app.config import read_study_file

    config = read_study_file(file)

    from schedsearch.app.configured import check_held_out, prepare
    from schedsearch.app.stores import in_use

    where = asked(executor, address, workers, gpus_per_worker)
    with in_use(store, file):
        if held_out:
            check_held_out(config)
        with progress() as start:
            ready = prepare(config, file.parent, store, create=False, run=where, progress=start)
            opened = ready.open(trust_remote_code=trust_remote_code, progress=start)
            with opened as study:
                chosen = ready.held_out if held_out else None
                found = study.exhibit(trial, samples, held_out=chosen, again=again, progress=start)
    if as_json:
        print_json(found)
    else:
        output.print(
            escape(
                f"Trial {found.trial} has {found.exhibits} exhibits, {found.recorded} of them new; "
                f"the schedule changes the answers of {found.changed}."
            ),
            soft_wrap=True,
        )
