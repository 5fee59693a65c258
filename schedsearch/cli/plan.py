"""The command that says what a search will cost."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from schedsearch.cli.options import (
    MOST,
    Address,
    AsJson,
    Executor,
    GpusPerWorker,
    TrustRemoteCode,
    asked,
    finite,
)
from schedsearch.cli.output import output, print_json, progress, show, table
from schedsearch.cli.studies import DEFAULT_STORE, StorePath, StudyFile

if TYPE_CHECKING:
    from schedsearch.app.plan import Plan

_MOST_WORKERS = 4096


def plan(
    file: StudyFile,
    store: StorePath = DEFAULT_STORE,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_WORKERS,
            help="The most workers to plan for; default: those of the study file, else 8.",
        ),
    ] = None,
    seconds_per_pass: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=MOST,
            callback=finite,
            help="What one worker takes for a full pass over the calibration set; default: "
            "measured here.",
        ),
    ] = None,
    executor: Executor = None,
    address: Address = None,
    gpus_per_worker: GpusPerWorker = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Say what a search will cost, by searching stand-ins for the model; nothing is stored."""
    from schedsearch.app.config import read_study_file

    config = read_study_file(file)

    from schedsearch.app.plan import plan as planned
    from schedsearch.app.running import RAY

    name = executor or (config.run.executor if config.run else None)
    where = asked(executor, address, 1 if name == RAY else None, gpus_per_worker)
    with progress() as start:
        found = planned(
            config,
            file.parent,
            store,
            workers=workers,
            seconds_per_pass=seconds_per_pass,
            trust_remote_code=trust_remote_code,
            run=where,
            progress=start,
        )
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: "Plan") -> None:
    time = found.pass_time
    origin = f"measured on {time.samples} of them" if time.samples else "as given"
    output.print(
        f"{escape(found.study)}: a full pass over {found.samples} samples takes one worker "
        f"{time.seconds:.1f} s, {origin}; reading data and opening the model took "
        f"{found.opening_seconds:.0f} s",
        soft_wrap=True,
    )
    asked = ("certificate", found.certify_samples), ("held-out samples", found.held_out_samples)
    end = [name for name, samples in asked if samples]
    columns = "vision read", "questions", "full passes", *end, "minutes"
    searches = table(*columns, title="one worker")
    for one in found.searches:
        last = [f"{one.end_passes:.1f}" for _ in end]
        minutes = f"{(found.opening_seconds + one.seconds) / 60:.1f}"
        searches.add_row(one.need, str(one.questions), f"{one.passes:.1f}", *last, minutes)
    show(searches)
    rows = table("workers", "minutes", "from", "to", "worker hours")
    for each in found.by_workers:
        rows.add_row(
            str(each.workers),
            f"{each.minutes:.1f}",
            f"{each.least:.1f}",
            f"{each.most:.1f}",
            f"{each.worker_hours:.2f}",
        )
    show(rows)
    output.print("A worker has one GPU, where there are any: its hours are GPU hours then.")
