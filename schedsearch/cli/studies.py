"""Commands for studies: search, list, show, export, report."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli import render_studies as render
from schedsearch.cli.options import MOST, AsJson, TrustRemoteCode, finite
from schedsearch.cli.output import errors, output, print_json, progress
from schedsearch.cli.search_display import SearchDisplay
from schedsearch.errors import RunError

StorePath = Annotated[
    str,
    typer.Option("--store", envvar="SCHEDSEARCH_STORE", help="SQLite file or database URL."),
]
StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML).")]
StudyName = Annotated[str, typer.Argument(help="Name of the study.")]

_DEFAULT_STORE = "schedsearch.db"


def search(
    file: StudyFile,
    store: StorePath = _DEFAULT_STORE,
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
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Start the search of a study file, or continue it."""
    from schedsearch.app.config import read_study_file
    from schedsearch.app.open import open_configured

    config = read_study_file(file)
    with progress() as start:
        opened = open_configured(
            config,
            file.parent,
            store,
            trust_remote_code=trust_remote_code,
            prefix_bytes=None if prefix_memory is None else round(prefix_memory * 2**30),
            progress=start,
        )
    with opened as study, SearchDisplay(study.name) as display:
        run = study.run(trials, timeout, [display.closed], display.show)
        display.close()
        if as_json:
            print_json(run)
        else:
            render.run(run, study)
        if run.ending != "finished":
            again = ["schedsearch", "search", str(file)]
            if store != _DEFAULT_STORE:
                again += ["--store", study.store.name]
            errors.print(f"{_WHY[run.ending]}; continue with: {shlex.join(again)}", soft_wrap=True)
    if run.ending == "interrupted":
        raise typer.Exit(130)
    if run.ending == "finished" and run.best is None:
        reason = next((one.reason for one in reversed(study.trials) if one.reason), "no trial")
        raise RunError(
            f"the search has ended without a result: {reason}; remove the cause, then "
            f"search under a new study name"
        )


_WHY = {
    "interrupted": "interrupted",
    "stopped": "stopped",
    "trials": "the limit of trials is reached",
    "timeout": "the time is up",
}


def list_studies(store: StorePath = _DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List the studies of a store."""
    from schedsearch.store.store import open_store

    with open_store(store, create=False) as opened:
        found = opened.studies()
    if as_json:
        print_json(found)
    else:
        render.studies(found)


def show(study: StudyName, store: StorePath = _DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Show trials, questions per layer and the curve so far."""
    from schedsearch.app.study_view import StudyView, trial_row
    from schedsearch.store.store import open_store

    with open_store(store, create=False) as opened:
        view = StudyView(opened, study)
        if as_json:
            print_json([trial_row(trial) for trial in view.trials])
        else:
            render.study(view)


def export(
    study: StudyName,
    out: Annotated[Path, typer.Argument(help="File to write.")] = Path("schedule.json"),
    store: StorePath = _DEFAULT_STORE,
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
    as_json: AsJson = False,
) -> None:
    """Write the schedule found so far, or another trial's, as a schedsearch.schedule/1 file."""
    from schedsearch.app.report import write_schedule
    from schedsearch.app.study_view import StudyView
    from schedsearch.store.store import open_store

    with open_store(store, create=False) as opened:
        view = StudyView(opened, study)
        trial = view.pick(budget, max_drop)
        write_schedule(view, out, trial=trial)
    if as_json:
        print_json({"schedule": str(out), "trial": trial.number})
    else:
        render.picked(trial)
        output.print(f"Schedule: {escape(str(out))}")


def report(
    file: StudyFile,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("report"),
    store: StorePath = _DEFAULT_STORE,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Compare the found schedule with baselines on held-out data and write a report."""
    from schedsearch.app.compare import compare
    from schedsearch.app.config import read_study_file
    from schedsearch.app.open import configured_samples, open_configured
    from schedsearch.app.report import write_report

    config = read_study_file(file)
    with open_configured(config, file.parent, store, trust_remote_code=trust_remote_code) as study:
        comparison = None
        if config.data.held_out is not None:
            held_out = configured_samples(config, file.parent, "held-out")
            with progress() as start:
                comparison = compare(study, held_out, study.best, start)
        folder = write_report(study, comparison, out)
    if as_json:
        print_json({"report": str(folder)})
    else:
        if comparison is not None:
            render.comparison(comparison)
        output.print(f"Report: {escape(str(folder))}")


def compare(
    file: StudyFile,
    budget: Annotated[
        list[str],
        typer.Option(help="Such as flops:0.4, feasible:0.25, kv:0.5 or mean_keep:0.3; repeatable."),
    ],
    trials: Annotated[
        int, typer.Option(min=1, max=MOST, help="Schedules that each family may try.")
    ] = 24,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("compare"),
    store: StorePath = _DEFAULT_STORE,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Search every family under the same budgets and compare their best on held-out data."""
    from schedsearch.app.compare_families import compare_families
    from schedsearch.app.compare_families_report import write_family_comparison
    from schedsearch.app.config import read_study_file
    from schedsearch.app.open import configured_samples, open_configured
    from schedsearch.app.plots import check_picture
    from schedsearch.core.budget import Budget

    config = read_study_file(file)
    budgets = [Budget.parse(one) for one in budget]
    check_picture(out / "compare.png")
    held_out = configured_samples(config, file.parent, "held-out")
    with open_configured(config, file.parent, store, trust_remote_code=trust_remote_code) as study:
        with progress() as start:
            found = compare_families(study, held_out, budgets, trials, start)
        folder = write_family_comparison(found, out)
    if as_json:
        print_json(found)
    else:
        render.family_comparison(found)
        output.print(f"Comparison: {escape(str(folder))}")
