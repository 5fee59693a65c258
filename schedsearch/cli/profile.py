"""The command that measures a latency model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from schedsearch.cli.options import (
    AsJson,
    Data,
    DeviceMap,
    DType,
    Images,
    Limit,
    Quantization,
    Revision,
    TrustRemoteCode,
)
from schedsearch.cli.output import output, print_json, progress, show, table
from schedsearch.cli.targets import Force, beside
from schedsearch.core.streams import is_stream

if TYPE_CHECKING:
    from schedsearch.app.profile import Profile


def profile(
    model: Annotated[str, typer.Argument(help="`demo`, a hub id or a folder.")],
    data: Data = "demo:calibration",
    images: Images = None,
    limit: Limit = 64,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Prompts in each prefill.")] = 1,
    repeats: Annotated[
        int, typer.Option(min=1, max=10_000, help="Measured runs of every part.")
    ] = 7,
    ranker: Annotated[str, typer.Option(help="Orders the tokens that are removed.")] = "last",
    out: Annotated[
        Path,
        typer.Option(
            help="schedsearch.latency/1 file to write; a PNG joins it. `-`: standard output, "
            "without a picture."
        ),
    ] = Path("latency.json"),
    force: Force = False,
    revision: Revision = None,
    dtype: DType = "auto",
    device_map: DeviceMap = None,
    quantization: Quantization = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure what a prefill takes on this device, as a function of the schedule."""
    from schedsearch.app.bootstrap import DataRef
    from schedsearch.app.latency_plot import save_latency
    from schedsearch.app.plots import check_picture
    from schedsearch.app.profile import check_file, profile_model, save_profile

    with beside(out, as_json):
        check_file(out, force)
        picture = None if is_stream(out) else out.with_suffix(".png")
        if picture:
            check_picture(picture, force)
        with progress() as start:
            result = profile_model(
                model,
                DataRef(data, limit, images),
                batch=batch,
                repeats=repeats,
                ranker=ranker,
                progress=start,
                revision=revision,
                dtype=dtype,
                device_map=device_map,
                quantization=quantization,
                trust_remote_code=trust_remote_code,
            )
        save_profile(result, out, force)
        if picture:
            save_latency(result, picture, force)
        if as_json:
            print_json(result)
        else:
            _show(result)
            files = f"Latency model: {out}" + (f", picture: {picture}" if picture else "")
            output.print(escape(files))


def _show(result: "Profile") -> None:
    latency = result.latency
    where = latency.conditions
    parts = table(
        "part of a prefill",
        "ms",
        title=f"{escape(where.model)} on {escape(where.device)}, {where.dtype}, batch of "
        f"{where.batch}: {where.n_vision} vision and {where.n_text} text tokens",
    )
    parts.add_row("all but the decoder layers", f"{latency.outside_ms:.2f}")
    for tokens, ms in zip(latency.tokens, latency.layer_ms, strict=True):
        parts.add_row(f"one of {latency.layers} layers, {tokens} tokens", f"{ms:.3f}")
    parts.add_row("once, where tokens leave", f"{latency.reduce_ms:.3f}")
    parts.add_row("before each layer where they do", f"{latency.drop_ms:.3f}")
    show(parts)
    checks = table("whole prefill", "FLOPs ratio", "predicted ms", "measured ms", "error")
    for check in result.checks:
        checks.add_row(
            check.name,
            f"{check.flops_ratio:.2f}",
            f"{check.predicted_ms:.2f}",
            f"{check.measured_ms:.2f}",
            f"{check.error:+.1%}",
        )
    show(checks)
    output.print(
        f"mean absolute error {latency.error_ms or 0:.2f} ms, {result.error_percent:.1f} %"
    )
