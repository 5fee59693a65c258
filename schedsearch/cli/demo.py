"""The `demo` commands: the embedded model and its task."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli import render
from schedsearch.cli.options import MOST, AsJson, Limit
from schedsearch.cli.output import errors, output, print_json, progress
from schedsearch.cli.targets import Force

demo = typer.Typer(
    name="demo", help="The embedded models and their task, ShapesVQA.", no_args_is_help=True
)

Deep = Annotated[bool, typer.Option("--deep", help="The model of 12 layers and 144 vision tokens.")]


@demo.command()
def run(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
    limit: Limit = 2000,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Apply the example schedule to the embedded model: a table and a picture."""
    from schedsearch.app.apply import apply_schedule
    from schedsearch.app.bootstrap import DEMO, DataRef, example_schedule
    from schedsearch.app.plots import check_picture, save_application
    from schedsearch.core.files import check_folder

    picture = out / "schedule.png"
    check_folder(out)
    check_picture(picture, force)
    with progress() as start:
        result = apply_schedule(
            DEMO, example_schedule(), DataRef("demo:held-out", limit), progress=start
        )
    save_application(result, picture, force)
    if as_json:
        print_json(result)
    else:
        render.application(result)
        output.print(f"Picture: {escape(str(picture))}")


@demo.command("eval")
def evaluate(
    split: Annotated[
        str, typer.Option(help="train, validation, calibration, held-out")
    ] = "held-out",
    limit: Limit = 4000,
    deep: Deep = False,
    as_json: AsJson = False,
) -> None:
    """Measure an embedded model: accuracy by kind of question with intervals."""
    from schedsearch.app.demo import evaluate_demo

    with progress() as start:
        result = evaluate_demo(split, limit or 4000, start, deep=deep)
    if as_json:
        print_json(result)
    else:
        render.demo_accuracy(result)


@demo.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder for the training state and the checkpoint.")],
    steps: Annotated[
        int | None, typer.Option(min=20, max=MOST, help="Optimiser steps of all stages.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seeds weights and images.")] = 0,
    threads: Annotated[
        int, typer.Option(min=1, max=1024, help="CPU threads; one is fastest here.")
    ] = 1,
    deep: Deep = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train an embedded model anew; run again to continue after an interruption."""
    from schedsearch.app.demo import train_demo

    with progress() as start:
        checkpoint = train_demo(out, steps, seed, threads, start, deep=deep, force=force)
    if as_json:
        print_json({"checkpoint": str(checkpoint)})
    else:
        errors.print("done")
        output.print(str(checkpoint))
