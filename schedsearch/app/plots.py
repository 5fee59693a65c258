"""Pictures of results; needs matplotlib, which comes with `schedsearch[search]`."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedsearch.core.files import check_target, write_file
from schedsearch.core.intervals import Interval
from schedsearch.core.kinds import picture_kind
from schedsearch.core.streams import is_stream
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.app.analyze import Analysis
    from schedsearch.app.apply import Application
    from schedsearch.app.study_view import FrontierView, Layers
    from schedsearch.core.comparison import Comparison

_UPRIGHT = 16
"""More numbers than this would run into each other if they were not turned."""


def check_picture(path: Path, force: bool = False) -> None:
    """Refuse a picture that could not be written, before the work whose result it shows.

    Args:
        path: The picture; PNG where it is written through.
        force: Replace a file that is no picture, too.

    Raises:
        InputError: No known format, or the place cannot be written or must not be replaced, or
            matplotlib is missing.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise _NO_MATPLOTLIB from None
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in known and not is_stream(path):
        raise InputError(
            f"{path}: not the name of a picture; end it in .png, or in one of {', '.join(known)}"
        )
    check_target(path, picture_kind(path.suffix), force=force)


_NO_MATPLOTLIB = InputError(
    "pictures need matplotlib, which is not installed; pip install 'schedsearch[search]'"
)


@contextmanager
def drawn(width: float, panels: int, kind: str) -> Iterator[tuple[io.BytesIO, Any]]:
    """Row of panels, and the bytes of their picture, which are there once the block has ended.

    Args:
        width: Inches.
        panels: How many.
        kind: Format, as matplotlib calls it.

    Raises:
        InputError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise _NO_MATPLOTLIB from None
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    made = io.BytesIO()
    yield made, figure.subplots(1, panels, squeeze=False)[0]
    with warnings.catch_warnings():
        # A name in letters that the font lacks is no reason to trouble anybody.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(made, dpi=120, format=kind)


@contextmanager
def picture(path: Path, width: float, panels: int, force: bool = False) -> Iterator[Any]:
    """Row of panels, written to `path` when the block ends without an error."""
    suffix = "" if is_stream(path) else path.suffix
    with drawn(width, panels, suffix.removeprefix(".") or "png") as (made, axes):
        yield axes[0].figure, axes
    write_file(path, made.getvalue(), picture_kind(path.suffix), force=force)


def save_application(result: "Application", path: Path, force: bool = False) -> None:
    """Keep ratios over depth, and accuracy by kind of question with and without."""
    with picture(path, 10, 2, force) as (figure, (left, right)):
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


def save_analysis(result: "Analysis", path: Path, force: bool = False) -> None:
    """Kendall's tau between layers, attention on vision, accuracy after withdrawal, objectives."""
    found = result.objectives
    width, panels = (14, 3) if found is None else (19, 4)
    with picture(path, width, panels, force) as drawn:
        figure, (tau, mass, gone, *ranked) = drawn
        attention = result.attention
        values = [[cell.value for cell in row] for row in attention.tau]
        image = tau.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
        tau.set(xlabel="layer", ylabel="layer", title="Kendall's tau of rankings")
        figure.colorbar(image, ax=tau, shrink=0.8)
        _curve(mass, range(result.layers), attention.mass, "vision tokens")
        chance = [attention.uniform_mass] * result.layers
        _curve(mass, range(result.layers), chance, "random tokens")
        mass.set(xlabel="layer", ylabel="share of attention", title=f"Rows: {attention.ranker}")
        mass.legend()
        layers = [row.layer for row in result.withdrawals]
        _curve(gone, layers, [row.score for row in result.withdrawals], "vision withdrawn")
        _curve(
            gone, layers, [row.random for row in result.withdrawals], "random tokens, same FLOPs"
        )
        gone.set(xlabel="withdrawn from layer", ylabel=result.metric, title="Where vision counts")
        gone.legend()
        if found is not None:
            equal = {f"{name},\nequal FLOPs": one for name, one in found.beyond_cost.items()}
            told = {**found.spearman, **equal}
            shown = {name: one for name, one in told.items() if one is not None}
            _bars(ranked[0], list(shown), list(shown.values()))
            ranked[0].set(xlabel=f"Spearman with {plain(found.metric)}", xlim=(-1, 1))
            ranked[0].set_title(f"Ranks of {len(found.schedules)} random schedules")
        figure.suptitle(f"{result.model} on {result.data}, {result.samples} samples")


def save_report(
    layers: Sequence["Layers"],
    n_max: int,
    comparison: "Comparison | None",
    path: Path,
    force: bool = False,
) -> None:
    """Kept tokens over depth, and beside it what they are worth on held-out samples."""
    width, count = (6, 1) if comparison is None else (12, 2)
    with picture(path, width, count, force) as (_, panels):
        _counts(panels[0], layers, n_max)
        if comparison is not None:
            _held_out(panels[1], comparison)


def save_frontier(found: "FrontierView", metric: str, path: Path, force: bool = False) -> None:
    """Drop over cost for the undominated trials, and the hypervolume as it grew."""
    with picture(path, 10, 2, force) as (_, (front, grown)):
        spent, drops = [cost for cost, _ in found.costs], [drop for _, drop in found.costs]
        front.step(spent, drops, where="post", marker=".")
        front.set(xlabel=found.cost, ylabel=plain(f"drop of {metric}"))
        front.set_title("Undominated trials, calibration set")
        grown.step(range(len(found.hypervolume)), found.hypervolume, where="post")
        cost, drop = found.reference
        grown.set(xlabel="trial", ylabel="hypervolume")
        grown.set_title(f"Against {found.cost} {cost:.4g}, drop {drop:.3g}")


def _counts(axes: Any, layers: Sequence["Layers"], n_max: int) -> None:
    edges = [layer - 0.5 for layer in range(len(layers) + 1)]
    keep = [one.keep for one in layers]
    axes.stairs(keep, edges, fill=True, color="tab:blue", alpha=0.25)
    axes.stairs(keep, edges, color="tab:blue")
    crowded = len(layers) > _UPRIGHT
    for one in layers:
        axes.annotate(
            str(one.count),
            (one.layer, one.keep),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize="x-small" if crowded else "small",
            rotation=90 if crowded else 0,
        )
    axes.set(xlabel="decoder layer", ylabel="keep ratio", ylim=(0, 1.15))
    axes.set_title(f"Vision tokens kept, of {n_max}")


def _held_out(axes: Any, comparison: "Comparison") -> None:
    rows = [(row, row.score) for row in comparison.rows if row.score is not None]
    names = [f"{row.name}\nFLOPs {row.flops_ratio:.2f}" for row, _ in rows]
    _bars(axes, names, [score for _, score in rows])
    for bar, (row, _) in zip(axes.patches, rows, strict=True):
        bar.set_facecolor("tab:gray" if row.difference else "tab:blue")
    axes.axvline(comparison.score.value, color="tab:blue", linestyle=":")
    axes.set_xlabel(plain(f"{comparison.metric}, 95 % intervals"))
    axes.set_title(plain(f"{comparison.samples} samples of {comparison.data}"))


def plain(words: str) -> str:
    """Words as they are: dollars would begin a formula."""
    return words.replace("$", r"\$")


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
