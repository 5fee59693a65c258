"""What the page of a study draws, to take away: as a picture, or as the numbers behind it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

from schedsearch.app import study_tables
from schedsearch.app.baselines import at_equal_cost
from schedsearch.app.happened import lanes, questions, timeline
from schedsearch.app.plots import drawn, plain
from schedsearch.app.points import limits
from schedsearch.app.slices import slices
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full, pareto
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.core.trial import Trial

Figure = Literal["curve", "questions", "costs", "timeline", "image", "parameters"]
Format = Literal["png", "svg", "csv"]

_MANY, _SPANS = 2000, 400
_ENDS = 24
_BEST, _OTHER = "tab:orange", "tab:blue"
_OTHERS = "tab:blue", "tab:purple", "tab:olive"
_EDGES = "low", "high"
_LINES: tuple[Mapping[str, Any], ...] = (
    {"color": _BEST},
    {"color": "tab:blue", "linestyle": "--"},
    {"color": "tab:green", "linestyle": ":"},
    {"color": "tab:purple", "linestyle": "-."},
    {"color": "tab:olive", "linestyle": (0, (4, 2))},
)
_MARKS: Mapping[str, tuple[str, str]] = {
    "accepted": ("o", "tab:blue"),
    "not rejected": ("$\\circ$", "tab:blue"),
    "refused": ("x", "tab:purple"),
    "failed": ("s", "tab:olive"),
    "open": (".", "tab:gray"),
}
_STATES: Mapping[str, str] = {
    "COMPLETE": "tab:blue",
    "SCREENED": "tab:green",
    "PRUNED": "tab:purple",
    "FAIL": "tab:olive",
}


def study_figure(view: StudyView, figure: Figure, kind: Format) -> bytes:
    """A picture of a snapshot of a study, or its numbers.

    Raises:
        InputError: The study has nothing of the kind yet, or matplotlib is missing.
    """
    if kind == "csv":
        return _TABLES[figure](view).encode()
    if figure == "parameters":
        return _parameters(view, kind)
    with drawn(8, 1, kind) as (made, (axes,)):
        _DRAW[figure](view, axes)
        axes.set_title(plain(view.name))
    return made.getvalue()


def curves_figure(title: str, curves: Sequence[tuple[str, Sequence[float]]], kind: Format) -> bytes:
    """Keep ratios of schedules over depth, the first of which stands out.

    Args:
        title: What the picture shows.
        curves: Name and keep ratios of each.
        kind: Its format.

    Raises:
        InputError: matplotlib is missing.
    """
    if kind == "csv":
        return study_tables.curves_table(curves).encode()
    with drawn(8, 1, kind) as (made, (axes,)):
        for (name, keep), style in zip(curves, cycle(_LINES), strict=False):
            edges, wide = range(len(keep) + 1), 2.5 if keep is curves[0][1] else 1.5
            axes.stairs(keep, edges, baseline=None, linewidth=wide, label=plain(name), **style)
        axes.set(xlabel="decoder layer", ylabel="vision tokens kept", ylim=(0, 1.05))
        axes.set_title(plain(title))
        axes.legend()
    return made.getvalue()


def _parameters(view: StudyView, kind: str) -> bytes:
    """Slices side by side: what was measured, and what the model of the search expects."""
    found = slices(view)
    with drawn(max(5, 3.5 * len(found)), len(found), kind) as (made, panels):
        for one, axes in zip(found, panels, strict=True):
            places = [(one.parameter.at(share), drop) for _, share, drop in one.measured]
            axes.scatter(*zip(*places, strict=True), s=10, color=_OTHER, label="measured")
            if one.expected:
                values = [one.parameter.at(each.share) for each in one.expected]
                low, high = ([getattr(each, name) for each in one.expected] for name in _EDGES)
                axes.fill_between(values, low, high, color="tab:green", alpha=0.2)
                drops = [each.drop for each in one.expected]
                axes.plot(values, drops, color="tab:green", label="expected")
            axes.axvline(one.parameter.at(one.best), linestyle=":", color=_BEST, label="best")
            axes.set(xlabel=plain(one.parameter.name))
            if one.importance is not None:
                axes.set_title(f"importance {one.importance:.0%}")
        panels[0].set_ylabel(plain(f"drop of {view.spec.metric}"))
        panels[0].legend()
    return made.getvalue()


def _curve(view: StudyView, axes: Any) -> None:
    best = view.best_trial
    assert best.measurement is not None
    edges = range(view.spec.facts.layers + 1)
    others = at_equal_cost(view, best.measurement.flops_ratio)
    for (one, schedule), colour in zip(others, _OTHERS, strict=False):
        style = {"linestyle": "--", "color": colour, "label": one.name}
        axes.stairs(schedule.keep, edges, baseline=None, **style)
    certified = view.certified
    if certified is not None and certified.keep != best.schedule.keep:
        axes.stairs(certified.keep, edges, color="tab:green", label="certified", baseline=None)
    axes.stairs(best.schedule.keep, edges, color=_BEST, linewidth=2.5, label="best", baseline=None)
    axes.set(xlabel="decoder layer", ylabel="vision tokens kept", ylim=(0, 1.05))
    axes.legend()


def _questions(view: StudyView, axes: Any) -> None:
    asked = questions(view)
    if not asked:
        raise InputError(f"study `{view.name}` has asked nothing about single layers")
    for answer, (mark, colour) in _MARKS.items():
        these = [one for one in asked if one.answer == answer]
        if these:
            sizes = [40 if one.samples is None else 16 for one in these]
            places = [one.layer for one in these], [one.count for one in these]
            axes.scatter(*places, s=sizes, marker=mark, color=colour, label=answer)
    n_max = view.sampler.n_max
    axes.set(xlabel="decoder layer", ylabel=f"vision tokens asked for, of {n_max}")
    axes.legend()


def _costs(view: StudyView, axes: Any) -> None:
    cost, within = view.costs, limits(view)
    measured = [trial for trial in view.trials if full(trial)]
    if not measured:
        raise InputError(f"study `{view.name}` has measured no trial on all samples yet")
    many = len(measured) > _MANY
    places = [cost(trial) for trial in measured]
    colours = [_OTHER if within.hold(pair) else "0.6" for pair in places]
    size = 4 if many else 14
    axes.scatter(*zip(*places, strict=True), s=size, c=colours, rasterized=many)
    _marked(axes, [cost(trial) for trial in pareto(view.trials, cost)], "o", _OTHER, 40)
    best = _best(view)
    if best is not None:
        _marked(axes, [cost(best)], "*", _BEST, 180)
    if within.drop is not None:
        axes.axhline(within.drop, linestyle=":", color="0.4")
    if within.cost is not None:
        axes.axvline(within.cost, linestyle=":", color="0.4")
    axes.set(xlabel=view.cost, ylabel=plain(f"drop of {view.spec.metric}"))


def _best(view: StudyView) -> "Trial | None":
    try:
        return view.best_trial
    except InputError:
        return None


def _marked(
    axes: Any, places: Sequence[tuple[float, float]], mark: str, colour: str, size: int
) -> None:
    axes.scatter(*zip(*places, strict=True), s=size, marker=mark, color=colour, zorder=3)


def _timeline(view: StudyView, axes: Any) -> None:
    spans = timeline(view.trials, view.store.last_attempts(view.name), _SPANS)
    if not spans:
        raise InputError(f"study `{view.name}` has had no trial at work yet")
    began = min(one.started for one in spans)
    last = max(one.ended or one.started for one in spans)
    for one in spans:
        start = (one.started - began).total_seconds() / 60
        wide = ((one.ended or last) - one.started).total_seconds() / 60
        colour = _STATES.get(one.state, "0.7")
        axes.broken_barh([(start, wide)], (one.lane + 0.05, 0.9), color=colour)
    names = {place: name for place, (name, _) in enumerate(lanes(spans)) if name}
    shown = [plain(_short(name)) for name in names.values()]
    axes.set_yticks([place + 0.5 for place in names], shown, fontsize="x-small")
    axes.set(xlabel="minutes since the first of these", ylabel="" if names else "at work at once")
    axes.invert_yaxis()
    axes.figure.set_figheight(max(axes.figure.get_figheight(), 1 + 0.15 * len(lanes(spans))))


def _short(name: str) -> str:
    return name if len(name) <= 2 * _ENDS else f"{name[:_ENDS]}…{name[-_ENDS:]}"


def _image(view: StudyView, axes: Any) -> None:
    keep = [trial.schedule.keep for trial in view.trials]
    if not keep:
        raise InputError(f"study `{view.name}` has no trial yet")
    table = list(zip(*keep, strict=True))
    drawn_image = axes.imshow(table, aspect="auto", vmin=0, vmax=1, cmap="Blues_r")
    axes.set(xlabel="trial", ylabel="decoder layer")
    axes.figure.colorbar(drawn_image, ax=axes, label="vision tokens kept")


_TABLES: Mapping[Figure, Callable[[StudyView], str]] = {
    "curve": study_tables.curve,
    "questions": study_tables.asked,
    "costs": study_tables.costs,
    "timeline": study_tables.spans,
    "image": study_tables.image,
    "parameters": study_tables.parameters,
}
_DRAW: Mapping[Figure, Callable[[StudyView, Any], None]] = {
    "curve": _curve,
    "questions": _questions,
    "costs": _costs,
    "timeline": _timeline,
    "image": _image,
}
