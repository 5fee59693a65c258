"""Options that several commands share."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import METRICS

MOST = 2**31 - 1
"""Of whole numbers that are bounded by patience alone."""


def finite(value: float | None) -> float | None:
    """The number itself; for `callback` of every option that is a float.

    Raises:
        BadParameter: It is no number, or infinite.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"must be a finite number, but got {value}")
    return value


AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]
Data = Annotated[
    str,
    typer.Option(
        help="`demo:SPLIT` or another set that comes along; or a JSONL file with question, "
        "answer, image."
    ),
]
Images = Annotated[Path | None, typer.Option(help="Image folder; default: the JSONL's folder.")]
Limit = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, max=MOST, help="Use this many samples.")
]
MetricName = Annotated[
    str,
    typer.Option(
        "--metric",
        help=f"{', '.join(METRICS.built_in)}, or one that a package brings.",
    ),
]
DType = Annotated[
    str,
    typer.Option(help="float32, float16, bfloat16; auto: float32 on the CPU, else the model's."),
]
DeviceMap = Annotated[
    str | None, typer.Option(help="`auto` spreads the model over devices; needs accelerate.")
]
Quantization = Annotated[str | None, typer.Option(help="8bit or 4bit weights; needs bitsandbytes.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")]
Executor = Annotated[
    str | None,
    typer.Option(
        help="Where schedules are evaluated: local, ray, or one that a package brings; default: "
        "that of the study file, else local."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="Of the Ray cluster; default: RAY_ADDRESS, else one is started here."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=MOST, help="The most Ray workers; default: all there is room for."),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        min=0,
        callback=finite,
        help="GPUs of each Ray worker, or a share of one; default: 1 where the cluster has any.",
    ),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
]


Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="SCHEDSEARCH_SERVER",
        help="Address of a service, in place of a store; its token is in SCHEDSEARCH_TOKEN.",
    ),
]


def server_of(context: typer.Context, url: str | None) -> str | None:
    """Address of the service that a command is for; None where it is for a store.

    What is typed goes before what the environment says.

    Args:
        context: Knows where options come from.
        url: That of `--server`.

    Raises:
        InputError: Store and service are both typed, or both in the environment alone.
    """
    if url is None:
        return None
    if _is_typed(context, "store"):
        if _is_typed(context, "server"):
            raise InputError("`--store` and `--server` exclude each other; leave one out")
        return None
    source = context.get_parameter_source("store")
    if not _is_typed(context, "server") and source is not None and source.name == "ENVIRONMENT":
        raise InputError(
            "SCHEDSEARCH_STORE and SCHEDSEARCH_SERVER are both set, and one alone can be meant; "
            "add --store or --server"
        )
    return url


def check_typed(context: typer.Context, *usable: str) -> None:
    """Refuse options that are typed, but are not for a service.

    Raises:
        InputError: There is one.
    """
    for name in context.params:
        if name not in usable and _is_typed(context, name):
            raise InputError(
                f"`--{name.replace('_', '-')}` is for searches of this process; leave it out with "
                "a service"
            )


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def asked(
    executor: str | None, address: str | None, workers: int | None, gpus_per_worker: float | None
) -> dict[str, Any]:
    """What a command line says of where to run, as `schedsearch.app.running.chosen` takes it."""
    return {
        "executor": executor,
        "address": address,
        "workers": workers,
        "gpus_per_worker": gpus_per_worker,
    }
