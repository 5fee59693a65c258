"""Commands for studies: search, list, show, export, report."""

import gc
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from schedsearch.cli import render_studies as render
from schedsearch.cli.options import (
    MOST,
    Address,
    AsJson,
    Executor,
    GpusPerWorker,
    Server,
    TrustRemoteCode,
    Workers,
    asked,
    check_typed,
    finite,
    server_of,
)
from schedsearch.cli.output import errors, output, print_json, progress
from schedsearch.cli.search_display import SearchDisplay
from schedsearch.cli.targets import Force, beside
from schedsearch.errors import InputError, RunError

StorePath = Annotated[
    str,
    typer.Option("--store", envvar="SCHEDSEARCH_STORE", help="SQLite file or database URL."),
]
StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML).")]
StudyName = Annotated[str, typer.Argument(help="Name of the study.")]

DEFAULT_STORE = "schedsearch.db"
DEFAULT_SCHEDULE = Path("schedule.json")


def search(
    context: typer.Context,
    file: StudyFile,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Close at most this many.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0, callback=finite, help="Seconds.")] = None,
    prefix_memory: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2**20,
            callback=finite,
            help="GiB for states that are kept for reuse; default: automatic.",
        ),
    ] = None,
    store_patience: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="Seconds to wait for a PostgreSQL server that fails; default: 600.",
        ),
    ] = None,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Start the search of a study file, or continue it; prove or measure the result at its end."""
    if (url := server_of(context, server)) is not None:
        from schedsearch.cli import remote_search

        check_typed(context, "file", "server", "as_json")
        remote_search.search(url, file, as_json)
        return

    from schedsearch.app.config import read_study_file

    config = read_study_file(file)

    from schedsearch.app.attended import attended
    from schedsearch.app.conclude import check_conclusive, conclude
    from schedsearch.app.configured import prepare
    from schedsearch.app.exhibits import exhibit_last

    prefix_bytes = None if prefix_memory is None else round(prefix_memory * 2**30)
    where = asked(executor, address, workers, gpus_per_worker)
    with progress() as start:
        ready = prepare(config, file.parent, store, run=where, progress=start)
        opened = ready.open(
            trust_remote_code=trust_remote_code,
            prefix_bytes=prefix_bytes,
            store_patience=store_patience,
            progress=start,
        )
    with opened as study:
        check_conclusive(study, ready)
        with SearchDisplay(study.name) as display:
            run = study.run(trials, timeout, [display.closed], display.show)
        if not as_json:
            render.run(run, study)
        proof = loss = None
        if run.ending == "finished" and run.best is not None:
            with progress() as start, attended(study, run, start) as last:
                proof = conclude(study, ready, last.start)
                loss = study.loss(run.best.schedule)
            run = replace(run, ending=last.ending)
            if run.ending == "finished":
                if not as_json:
                    render.proof_or_loss(proof, loss)
                with progress() as start:
                    exhibit_last(study, config.exhibits, start)
        if as_json:
            print_json({**vars(run), "certification": proof, "loss": loss})
        if run.ending != "finished":
            named = study.store.name if store != DEFAULT_STORE else None
            again = continuation(file, named, where)
            errors.print(f"{WHY[run.ending]}; continue with: {again}", soft_wrap=True)
    if run.ending == "interrupted":
        raise typer.Exit(130)
    if run.ending == "finished" and run.best is None:
        reason = next((one.reason for one in reversed(study.trials) if one.reason), "no trial")
        raise RunError(
            f"the search has ended without a result: {reason}; remove the cause, then "
            f"search under a new study name"
        )


def continuation(file: Path, store: str | None, run: Mapping[str, Any]) -> str:
    """The command that goes on with a search.

    Args:
        file: The study file.
        store: Name of the store, None for the default one.
        run: Where it runs, as `asked` has it.
    """
    again = ["schedsearch", "search", str(file)]
    for name, value in run.items():
        if value is not None:
            again += [f"--{name.replace('_', '-')}", str(value)]
    if store is not None and "://" in store:  # without its password it cannot be pasted
        return f"{shlex.join(again)} (with the store's address in SCHEDSEARCH_STORE)"
    return shlex.join([*again, "--store", store] if store is not None else again)


WHY = {
    "interrupted": "interrupted",
    "stopped": "stopped",
    "paused": "paused",
    "trials": "the limit of trials is reached",
    "timeout": "the time is up",
}


def list_studies(
    context: typer.Context,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List the studies of a store, or of a service."""
    if (url := server_of(context, server)) is not None:
        from schedsearch.cli import remote

        remote.list_studies(url, as_json)
        return

    from schedsearch.store.store import open_store

    with open_store(store, read_only=True) as opened:
        found = opened.studies()
    if as_json:
        print_json(found)
    else:
        render.studies(found)


def show(
    context: typer.Context,
    study: StudyName,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every trial, not the last 20 alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last trials, trials per layer and the curve so far."""
    if (url := server_of(context, server)) is not None:
        from schedsearch.cli import remote

        remote.show(url, study, every, as_json)
        return

    gc.disable()  # modules and thousands of trials are no garbage, and looking at them takes time

    from schedsearch.app.study_view import StudyView, trial_row
    from schedsearch.store.store import open_store

    with open_store(store, read_only=True) as opened:
        view, found = StudyView(opened, study).snapshot(), opened.study(study)
        if as_json:
            print_json([trial_row(trial) for trial in view.trials])
        else:
            render.study(view, every)
            render.at_work(found)


def export(
    context: typer.Context,
    study: StudyName,
    out: Annotated[
        Path | None,
        typer.Argument(
            help="File to write; `-`: standard output.", show_default=str(DEFAULT_SCHEDULE)
        ),
    ] = None,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0, callback=finite, help="The best trial of at most this cost, as `show` names it."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="The cheapest trial that loses at most this much of the metric.",
        ),
    ] = None,
    optuna: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Write the whole study to this database of Optuna (or SQLite file) instead.",
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the certified schedule, else the found one, or another, as schedsearch.schedule/1."""
    url = server_of(context, server)
    if optuna is not None:
        if (out, budget, max_drop, url) != (None, None, None, None):
            raise InputError(
                "--optuna writes the whole study, and no schedule: leave OUT, --budget, "
                "--max-drop and --server out, or write both one after the other"
            )
        _export_to_optuna(study, optuna, store, force, as_json)
        return
    out = out or DEFAULT_SCHEDULE
    if url is not None:
        from schedsearch.cli import remote

        remote.export(url, study, out, budget, max_drop, force, as_json)
        return

    from schedsearch.app.report import write_schedule
    from schedsearch.app.stores import in_use
    from schedsearch.app.study_view import StudyView
    from schedsearch.store.store import open_store

    with beside(out, as_json), in_use(store):
        with open_store(store, read_only=True) as opened:
            view, trial = StudyView(opened, study).snapshot(), None
            proven = view.certified if budget is None and max_drop is None else None
            proof = proven.certificate if proven else None
            if proof is None:
                trial = view.pick(budget, max_drop)
            write_schedule(view, out, view.comparison, trial, force=force)
            lost = view.loss(trial.schedule) if trial else None
        if as_json:
            claim = proof and proof.claim
            print_json({"schedule": str(out), "trial": trial and trial.number, "claim": claim})
        else:
            if proof is not None:
                output.print(escape(proof.claim), soft_wrap=True)
            if trial is not None:
                render.picked(trial)
                render.loss(lost)
            output.print(f"Schedule: {escape(str(out))}")


def _export_to_optuna(study: str, url: str, store: str, force: bool, as_json: bool) -> None:
    from schedsearch.app.optuna_export import export_to_optuna
    from schedsearch.app.study_view import StudyView
    from schedsearch.store.store import open_store

    with open_store(store, read_only=True) as opened, progress() as start:
        view = StudyView(opened, study)
        found = export_to_optuna(view, url, force=force, on_progress=start("trials"))
    if as_json:
        print_json({"optuna": found.database, "study": found.study, "trials": found.trials})
    else:
        trials = f"{found.trials} trial{'' if found.trials == 1 else 's'}"
        output.print(escape(f"{trials} in {found.database}, study {found.study}"), soft_wrap=True)


def report(
    file: StudyFile,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("report"),
    force: Force = False,
    store: StorePath = DEFAULT_STORE,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Compare the found schedule with baselines on held-out data and write a report."""
    from schedsearch.app.config import read_study_file

    config = read_study_file(file)

    from schedsearch.app.configured import prepare
    from schedsearch.app.report import check_report, write_report
    from schedsearch.app.stores import in_use
    from schedsearch.samplers.settings import GSearchSettings

    where = asked(executor, address, workers, gpus_per_worker)
    with in_use(store, file):
        check_report(out, not isinstance(config.search, GSearchSettings), force)
        with progress() as start:
            ready = prepare(config, file.parent, store, create=False, run=where, progress=start)
            opened = ready.open(trust_remote_code=trust_remote_code, progress=start)
        with opened:
            from schedsearch.app.compare import compare

            study, comparison = opened.snapshot(), None
            if ready.held_out is not None:
                with progress() as start:
                    proof = study.certified
                    comparison = compare(study, ready.held_out, study.best, start, certified=proof)
            folder = write_report(study, comparison, out, force)
    if as_json:
        print_json({"report": str(folder)})
    else:
        if comparison is not None:
            render.comparison(comparison)
        output.print(f"Report: {escape(str(folder))}")
