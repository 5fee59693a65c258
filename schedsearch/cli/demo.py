"""The `demo` commands: the embedded model and its task."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli import render
from schedsearch.cli.options import MOST, AsJson, DType, Limit
from schedsearch.cli.output import errors, output, print_json, progress
from schedsearch.cli.targets import Force
from schedsearch.core.shown import shown
from schedsearch.errors import InputError

demo = typer.Typer(
    name="demo", help="The embedded models and their task, ShapesVQA.", no_args_is_help=True
)

Deep = Annotated[bool, typer.Option("--deep", help="Short for `demo-deep`.")]
_NAMES = "demo (8 layers), demo-deep (12) or smollm2 (30, pretrained)"


def _named(name: str, deep: bool) -> str:
    from schedsearch.demo import DEMO, DEMO_DEEP, MODELS

    if name not in MODELS:
        raise InputError(f"{shown(name)} is no embedded model; choose {_NAMES}")
    if deep and name not in (DEMO, DEMO_DEEP):
        raise InputError(f"`--deep` means demo-deep, but {shown(name)} is named; leave one out")
    return DEMO_DEEP if deep else name


@demo.command()
def run(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
    limit: Limit = 2000,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Apply the example schedule to the embedded model: a table and a picture."""
    from schedsearch.app.apply import apply_schedule
    from schedsearch.app.bootstrap import DataRef, example_schedule
    from schedsearch.app.plots import check_picture, save_application
    from schedsearch.core.files import check_folder
    from schedsearch.demo import DEMO

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
    model: Annotated[str, typer.Option(help=f"{_NAMES}.")] = "demo",
    dtype: DType = "auto",
    deep: Deep = False,
    as_json: AsJson = False,
) -> None:
    """Measure an embedded model: accuracy by kind of question with intervals."""
    from schedsearch.app.demo import evaluate_demo

    with progress() as start:
        name = _named(model, deep)
        result = evaluate_demo(split, limit or 4000, start, name=name, dtype=dtype)
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
    recipe: Annotated[str, typer.Option(help=f"{_NAMES}.")] = "demo",
    deep: Deep = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train an embedded model anew; run again to continue after an interruption."""
    from schedsearch.app.demo import train_demo

    with progress() as start:
        name = _named(recipe, deep)
        checkpoint = train_demo(out, steps, seed, threads, start, name=name, force=force)
    if as_json:
        print_json({"checkpoint": str(checkpoint)})
    else:
        errors.print("done")
        output.print(str(checkpoint))
