"""The picture of a latency profile; needs matplotlib, which comes with `schedsearch[search]`."""

from pathlib import Path
from typing import TYPE_CHECKING

from schedsearch.app.plots import picture

if TYPE_CHECKING:
    from schedsearch.app.profile import Profile


def save_latency(result: "Profile", path: Path, force: bool = False) -> None:
    """Time of a layer over its tokens, and predicted against measured prefills."""
    latency, where = result.latency, result.latency.conditions
    with picture(path, 10, 2, force) as (figure, (layer, whole)):
        layer.plot(latency.tokens, latency.layer_ms, "o", label="measured")
        counts = range(latency.tokens[-1] + 1)
        layer.plot(counts, [latency.layer_time(count) for count in counts], label="model")
        layer.set(
            xlabel="tokens of each prompt in the layer", ylabel="ms per layer", ylim=(0, None)
        )
        layer.legend()
        for name in dict.fromkeys(check.name for check in result.checks):
            rows = [check for check in result.checks if check.name == name]
            measured = [check.measured_ms for check in rows]
            whole.plot(measured, [check.predicted_ms for check in rows], "o", label=name)
        ends = [0, max(max(check.measured_ms, check.predicted_ms) for check in result.checks)]
        whole.plot(ends, ends, ":", color="tab:gray")
        whole.set(xlabel="measured prefill, ms", ylabel="predicted prefill, ms")
        whole.set_title(f"mean absolute error {latency.error_ms or 0:.2f} ms")
        whole.legend()
        figure.suptitle(f"{where.model} on {where.device}, batch of {where.batch}")
