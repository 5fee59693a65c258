"""Pictures of results; needs matplotlib, which comes with `schedsearch[search]`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedsearch.core.intervals import Interval
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.app.analyze import Analysis
    from schedsearch.app.apply import Application


@contextmanager
def _figure(path: Path, width: float, panels: int) -> Iterator[Any]:
    """Row of panels, written to `path` when the block ends without an error."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "pictures need matplotlib, which is not installed; pip install 'schedsearch[search]'"
        ) from None
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure, figure.subplots(1, panels, squeeze=False)[0]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another") from None


def save_application(result: "Application", path: Path) -> None:
    """Keep ratios over depth, and accuracy by kind of question with and without."""
    with _figure(path, 10, 2) as (figure, (left, right)):
        left.step(range(len(result.keep)), result.keep, where="mid", color="tab:blue")
        left.fill_between(range(len(result.keep)), result.keep, step="mid", alpha=0.2)
        left.set(xlabel="decoder layer", ylabel="keep ratio", ylim=(0, 1.05))
        left.set_title(f"FLOPs ratio {result.flops_ratio:.2f}")
        quality = result.quality
        rows = {
            "full model": quality.full,
            "with the schedule": quality.reduced,
            "random tokens": quality.random,
        }
        _bars(right, list(rows), list(rows.values()))
        right.set_xlabel(quality.metric)
        figure.suptitle(f"{result.model} on {result.data}, {result.samples} samples")


def save_analysis(result: "Analysis", path: Path) -> None:
    """Kendall's tau between layers, attention on vision, and accuracy after withdrawal."""
    with _figure(path, 14, 3) as (figure, (tau, mass, gone)):
        found = result.attention
        values = [[cell.value for cell in row] for row in found.tau]
        image = tau.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
        tau.set(xlabel="layer", ylabel="layer", title="Kendall's tau of rankings")
        figure.colorbar(image, ax=tau, shrink=0.8)
        _curve(mass, range(result.layers), found.mass, "vision tokens")
        chance = [found.uniform_mass] * result.layers
        _curve(mass, range(result.layers), chance, "random tokens")
        mass.set(xlabel="layer", ylabel="share of attention", title=f"Rows: {found.ranker}")
        mass.legend()
        layers = [row.layer for row in result.withdrawals]
        _curve(gone, layers, [row.score for row in result.withdrawals], "vision withdrawn")
        _curve(
            gone, layers, [row.random for row in result.withdrawals], "random tokens, same FLOPs"
        )
        gone.set(xlabel="withdrawn from layer", ylabel=result.metric, title="Where vision counts")
        gone.legend()
        figure.suptitle(f"{result.model} on {result.data}, {result.samples} samples")


def _bars(axes: Any, names: Sequence[str], values: Sequence[Interval]) -> None:
    errors = [
        [value.value - value.low for value in values],
        [value.high - value.value for value in values],
    ]
    axes.barh(names, [value.value for value in values], xerr=errors, color="tab:blue", alpha=0.6)
    axes.invert_yaxis()


def _curve(axes: Any, x: Sequence[int], values: Sequence[Interval], label: str) -> None:
    axes.plot(x, [value.value for value in values], marker=".", label=label)
    axes.fill_between(
        x, [value.low for value in values], [value.high for value in values], alpha=0.2
    )
