"""The command that certifies."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli.options import (
    Address,
    AsJson,
    Executor,
    GpusPerWorker,
    TrustRemoteCode,
    Workers,
    asked,
    finite,
)
from schedsearch.cli.output import output, print_json, progress
from schedsearch.cli.render_certificate import render
from schedsearch.cli.studies import DEFAULT_STORE, StorePath, StudyFile
from schedsearch.cli.targets import Force, beside


def certify(
    file: StudyFile,
    store: StorePath = DEFAULT_STORE,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="Greatest mean drop to prove; default: that of the study file.",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, callback=finite, help="Probability of a false proof; default: .05."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Schedule file to write, with its certificate; `-`: standard output."),
    ] = None,
    force: Force = False,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Prove what the found schedule loses at most, on samples that the search never saw."""
    from schedsearch.app.config import read_study_file

    config = read_study_file(file)

    from schedsearch.app.conclude import prove
    from schedsearch.app.configured import check_certify, prepare
    from schedsearch.app.stores import in_use
    from schedsearch.core.files import check_target
    from schedsearch.core.schedule_file import SCHEDULE

    where = asked(executor, address, workers, gpus_per_worker)
    with beside(out or Path(), as_json), in_use(store, file):
        check_certify(config)
        if out is not None:
            check_target(out, SCHEDULE, force=force)
        with progress() as start:
            ready = prepare(config, file.parent, store, create=False, run=where, progress=start)
            opened = ready.open(trust_remote_code=trust_remote_code, progress=start)
        with opened as study:
            assert ready.certify is not None, "checked above"
            with progress() as start:
                found = prove(study, ready.certify, config.certify, start, tolerance, alpha)
            if out is not None and found.proven:
                from schedsearch.app.report import write_schedule

                write_schedule(study, out, study.comparison, force=force)
    if as_json:
        print_json(found)
        return
    with beside(out or Path(), as_json):
        render(found)
        if out is not None and found.proven:
            output.print(f"Schedule: {escape(str(out))}")
