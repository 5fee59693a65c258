"""The command that compares families."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli import render_studies as render
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
from schedsearch.cli.targets import Force


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
    force: Force = False,
    store: StorePath = DEFAULT_STORE,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Search every family under the same budgets and compare their best on held-out data."""
    from schedsearch.app.config import read_study_file
    from schedsearch.core.budget import Budget

    config = read_study_file(file)
    budgets = [Budget.parse(one) for one in budget]

    from schedsearch.app.compare_families_report import (
        check_family_comparison,
        write_family_comparison,
    )
    from schedsearch.app.configured import check_held_out, prepare
    from schedsearch.app.stores import in_use

    where = asked(executor, address, workers, gpus_per_worker)
    with in_use(store, file):
        check_family_comparison(out, force)
        check_held_out(config)
        with progress() as start:
            ready = prepare(config, file.parent, store, run=where, progress=start)
            study = ready.open(trust_remote_code=trust_remote_code, progress=start)
        assert ready.held_out is not None
        with study:
            from schedsearch.app.compare_families import compare_families

            with progress() as start:
                found = compare_families(study, ready.held_out, budgets, trials, start)
            folder = write_family_comparison(found, out, force)
    if as_json:
        print_json(found)
    else:
        render.family_comparison(found)
        output.print(f"Comparison: {escape(str(folder))}")
