"""The picture of families at equal budgets; needs matplotlib, as `schedsearch.app.plots` does."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedsearch.app.plots import picture, plain

if TYPE_CHECKING:
    from schedsearch.app.compare_families import AtBudget, FamilyComparison

_NAMES, _PANEL, _CURVES = 2, 3.2, 7
"""Inches for the names of the families, the scores of a budget, and the schedules with a legend."""


def save_family_comparison(found: "FamilyComparison", path: Path, force: bool = False) -> None:
    """Held-out scores with their intervals by family, and the schedules of the tightest budget.

    Each budget has a panel and each family a height in all of them: over FLOPs, which are equal by
    intention, their intervals would hide each other.
    """
    rounds = sorted(found.rounds, key=lambda one: one.flops)
    names = dict.fromkeys(entry.row.name for one in rounds for entry in one.entries)
    heights = {name: height for height, name in enumerate(names)}
    width = _NAMES + _PANEL * len(rounds) + _CURVES
    with picture(path, width, len(rounds) + 1, force) as (figure, panels):
        for number, (axes, one) in enumerate(zip(panels, rounds, strict=False)):
            _scores(axes, one, heights, named=number == 0)
            axes.axvline(found.full.value, color="tab:gray", linestyle=":")
            axes.set(xlabel=plain(f"{found.metric}, 95 % intervals"), title=str(one.budget))
        curves = panels[-1]
        for entry in rounds[0].entries:
            if entry.schedule is not None:
                curves.step(
                    range(entry.schedule.layers),
                    entry.schedule.keep,
                    where="mid",
                    color=f"C{heights[entry.row.name]}",
                    label=plain(entry.row.name),
                )
        curves.set(xlabel="decoder layer", ylabel="keep ratio", ylim=(0, 1.05))
        curves.set_title(f"Schedules for {rounds[0].budget}")
        figure.legend(fontsize="small", loc="outside right center")
        samples = f"{found.samples} samples of {found.data}; dotted: the full model"
        figure.suptitle(plain(samples))


def _scores(axes: Any, one: "AtBudget", heights: Mapping[str, int], named: bool) -> None:
    labels = {height: plain(name) if named else "" for name, height in heights.items()}
    for entry in one.entries:
        row, score, height = entry.row, entry.row.score, heights[entry.row.name]
        if score is None:
            continue
        axes.errorbar(
            [score.value],
            [height],
            xerr=[[score.value - score.low], [score.high - score.value]],
            fmt="o",
            markersize=4,
            capsize=3,
            color=f"C{height}",
        )
        cost = f"FLOPs {row.flops_ratio:.3f}"
        labels[height] = f"{labels[height]}, {cost}" if named else cost
    axes.set_yticks(list(labels), list(labels.values()), fontsize="small")
    axes.set_ylim(len(heights) - 0.5, -0.5)
