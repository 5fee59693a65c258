"""The commands for a model and a schedule; the study commands join them here."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schedsearch.cli import render, studies, submit, watch
from schedsearch.cli.certify import certify
from schedsearch.cli.compare import compare
from schedsearch.cli.db import db
from schedsearch.cli.demo import demo
from schedsearch.cli.edge import check_place
from schedsearch.cli.exhibit import exhibit
from schedsearch.cli.options import (
    MOST,
    AsJson,
    Data,
    DeviceMap,
    DType,
    Images,
    Limit,
    MetricName,
    Quantization,
    Revision,
    TrustRemoteCode,
)
from schedsearch.cli.output import output, print_json, progress, set_verbosity
from schedsearch.cli.plan import plan
from schedsearch.cli.profile import profile
from schedsearch.cli.serve import serve, token
from schedsearch.cli.targets import Force, beside
from schedsearch.errors import InputError
from schedsearch.version import VERSION

if TYPE_CHECKING:
    from schedsearch.app.bootstrap import DataRef
    from schedsearch.app.power import Power

app = typer.Typer(
    name="schedsearch",
    help="Search how many vision tokens each decoder layer of a multimodal LLM needs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(plan)
app.command()(studies.search)
app.command()(certify)
app.command()(watch.watch)
app.command()(watch.pause)
app.command()(watch.stop)
app.command()(submit.submit)
app.command()(submit.resume)
app.command("jobs")(submit.list_jobs)
app.command("workers")(submit.list_workers)
app.command()(submit.logs)
app.command()(profile)
app.command("list")(studies.list_studies)
app.command()(studies.show)
app.command()(studies.export)
app.command()(studies.report)
app.command()(exhibit)
app.command()(compare)
app.command()(serve)
app.add_typer(token)
app.add_typer(db)
app.add_typer(demo)


def _version(asked: bool) -> None:
    if asked:
        output.print(f"schedsearch {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more; twice for everything.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    set_verbosity(-1 if quiet else verbose)
    check_place()


@app.command()
def apply(
    model: Annotated[str, typer.Argument(help="`demo`, a hub id or a folder.")],
    schedule: Annotated[Path, typer.Argument(help="A schedsearch.schedule/1 file.")],
    data: Data = "demo:held-out",
    images: Images = None,
    limit: Limit = None,
    metric: MetricName = "vqa_accuracy",
    repeats: Annotated[int, typer.Option(min=1, max=MOST, help="Timed pairs of prefills.")] = 5,
    revision: Revision = None,
    dtype: DType = "auto",
    device_map: DeviceMap = None,
    quantization: Quantization = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Show what a schedule costs and saves: FLOPs, KV cache, prefill time, changed answers."""
    from schedsearch.app.apply import apply_schedule
    from schedsearch.app.bootstrap import DataRef

    with progress() as start:
        result = apply_schedule(
            model,
            schedule,
            DataRef(data, limit, images),
            metric=metric,
            repeats=repeats,
            progress=start,
            revision=revision,
            dtype=dtype,
            device_map=device_map,
            quantization=quantization,
            trust_remote_code=trust_remote_code,
        )
    if as_json:
        print_json(result)
    else:
        render.application(result)


@app.command()
def analyze(
    model: Annotated[
        str, typer.Argument(help="`demo`, a hub id or a folder; with --store the name of a study.")
    ],
    data: Data = "demo:calibration",
    images: Images = None,
    limit: Limit = 200,
    metric: MetricName = "exact_match",
    ranker: Annotated[str, typer.Option(help="Whose attention ranks: last or text.")] = "last",
    schedules: Annotated[
        int,
        typer.Option(
            min=0, max=10_000, help="Random schedules that objectives rank; 0: leave that out."
        ),
    ] = 20,
    power: Annotated[
        bool,
        typer.Option(
            "--power",
            help="Say instead what numbers of samples tell apart and prove; nothing is drawn.",
        ),
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            help="With --power: the store of a study, which is named in place of a model."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG to write; `-`: standard output.")] = Path(
        "analysis.png"
    ),
    force: Force = False,
    revision: Revision = None,
    dtype: DType = "auto",
    device_map: DeviceMap = None,
    quantization: Quantization = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure how layers rank vision tokens, where they are needed, and which objective tells.

    With --power: what numbers of samples tell apart, and what tolerances take.
    """
    from schedsearch.app.analyze import analyze_model
    from schedsearch.app.bootstrap import DataRef
    from schedsearch.app.plots import check_picture, save_analysis

    loading: dict[str, Any] = {
        "revision": revision,
        "dtype": dtype,
        "device_map": device_map,
        "quantization": quantization,
        "trust_remote_code": trust_remote_code,
    }
    where = DataRef(data, limit, images)
    named: dict[str, Any] = {"metric": metric, "ranker": ranker}
    if store is not None and not power:
        raise InputError("`--store` is where the study of `--power` is; add that, or leave it out")
    if power:
        found = _power(model, where, store, **named, **loading)
        if as_json:
            print_json(found)
        else:
            render.power(found)
        return
    with beside(out, as_json):
        check_picture(out, force)
        with progress() as start:
            result = analyze_model(
                model, where, schedules=schedules, progress=start, **named, **loading
            )
        save_analysis(result, out, force)
        if as_json:
            print_json(result)
        else:
            render.analysis(result)
            output.print(f"Picture: {escape(str(out))}")


def _power(name: str, data: "DataRef", store: str | None, **options: Any) -> "Power":
    """What numbers of samples tell apart: of a study where a store is named, else of a model."""
    from schedsearch.app.power import power_of_model, power_of_study
    from schedsearch.app.study_view import StudyView
    from schedsearch.store.store import open_store

    if store is None:
        with progress() as start:
            return power_of_model(name, data, progress=start, **options)
    with open_store(store, read_only=True) as opened:
        return power_of_study(StudyView(opened, name).snapshot())


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check Python, packages, device and the embedded model; exit 1 if something needed fails."""
    from schedsearch.app.doctor import doctor as look

    checks = look()
    if as_json:
        print_json(checks)
    else:
        render.checks(checks)
    if any(check.required and not check.ok for check in checks):
        sys.exit(1)
