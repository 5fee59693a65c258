"""Curves that a search begins with: published, predicted, another study's, or from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from schedsearch.core.budget import MEASURES
from schedsearch.core.families import Family
from schedsearch.core.families.nearest import nearest
from schedsearch.core.families.published import CURVES
from schedsearch.core.flops import Cost
from schedsearch.core.reading import place_of
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.samplers.settings import Divergences

Keep = tuple[float, ...]

PUBLISHED, ADDITIVE = "published", "additive"


def curves_of(
    name: str,
    layers: int,
    first: int,
    result: Callable[[str], Trial | None],
    folder: Path,
) -> list[Keep]:
    """Keep ratios that a name in `warm_start` stands for.

    Args:
        name: `published`, `study:NAME`, or the path of a schedule file.
        layers: Of the model.
        first: First layer that may process fewer vision tokens than there are.
        result: The best trial of a study, by name.
        folder: What paths are relative to.

    Raises:
        InputError: The name stands for nothing, or for a schedule of another depth.
    """
    if name == PUBLISHED:
        return [curve.stretched(layers, first) for curve in CURVES]
    kind, _, study = name.partition(":")
    if kind == "study":
        best = result(study)
        if best is None:
            raise InputError(f"`warm_start`: study `{study}` has no result yet; search it first")
        keep = best.schedule.keep
    else:
        keep = Schedule.load(place_of(name, folder)).keep
    if len(keep) != layers:
        raise InputError(
            f"`warm_start`: {name} has {len(keep)} layers, but the model has {layers}; name a "
            f"schedule of this model"
        )
    return [keep]


def predicted_line(
    divergences: "Divergences", subject: Subject, first: int
) -> tuple[list[Schedule], float]:
    """Schedules that lose least for their FLOPs by single cuts, FLOPs rising, and the cuts' cost.

    The cost is in full passes.

    Raises:
        InputError: `first` is no layer.
        RunError: A cut cannot be evaluated.
    """
    from schedsearch.samplers.predicted import predicted_frontier
    from schedsearch.samplers.single_cuts import SingleCuts

    shape, n_max = subject.shape, max(subject.n_visions)
    cuts, spent = SingleCuts.measured(divergences, shape.layers, first)
    line = predicted_frontier(cuts, MEASURES["flops"], shape, tuple(subject.tokens))
    return [Schedule.from_counts(one.counts, n_max) for one in line], spent


def start_of(family: Family, keep: Keep, subject: Subject, cost: Cost | None) -> dict[str, float]:
    """The family's point that is nearest to a curve.

    Args:
        family: Of the search.
        keep: The curve.
        subject: The model and the calibration set.
        cost: What the search calls cost, where it chooses that too; the point then has a `budget`.
    """
    first, layers = family.first, subject.shape.layers
    keep = (1.0,) * first + keep[first:]
    point = nearest(family, keep, subject.shape, subject.tokens)
    if cost is None:
        return point
    # A curve of many drops may take longer than the full model.
    nothing = Schedule((1.0,) * first + (0.0,) * (layers - first))
    least, most = cost(nothing), cost(subject.full)
    return point | {"budget": min(most, max(least, cost(Schedule(keep))))}
