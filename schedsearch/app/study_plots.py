"""Pictures of a study to take away: what its page draws, as PNG or SVG."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from schedsearch.app.baselines import at_equal_cost
from schedsearch.app.happened import questions, timeline
from schedsearch.app.plots import drawn, plain
from schedsearch.app.points import limits
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full, pareto
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.core.trial import Trial

Figure = Literal["curve", "questions", "costs", "timeline", "image"]
Format = Literal["png", "svg"]

_MANY, _SPANS = 2000, 400
_BEST, _OTHER = "tab:orange", "tab:blue"
_OTHERS = "tab:blue", "tab:purple", "tab:olive"
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
    """A picture of a snapshot of a study.

    Raises:
        InputError: The study has nothing of the kind yet, or matplotlib is missing.
    """
    with drawn(8, 1, kind) as (made, (axes,)):
        _DRAW[figure](view, axes)
        axes.set_title(plain(view.name))
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
    spans = timeline(view.trials, view.store.last_attempts(view.name))[-_SPANS:]
    if not spans:
        raise InputError(f"study `{view.name}` has had no trial at work yet")
    began = min(one.started for one in spans)
    last = max(one.ended or one.started for one in spans)
    for one in spans:
        start = (one.started - began).total_seconds() / 60
        wide = ((one.ended or last) - one.started).total_seconds() / 60
        colour = _STATES.get(one.state, "0.7")
        axes.broken_barh([(start, wide)], (one.lane + 0.05, 0.9), color=colour)
    axes.set(xlabel="minutes since the first of these", ylabel="at work at once")
    axes.set_yticks([])


def _image(view: StudyView, axes: Any) -> None:
    keep = [trial.schedule.keep for trial in view.trials]
    if not keep:
        raise InputError(f"study `{view.name}` has no trial yet")
    table = list(zip(*keep, strict=True))
    drawn_image = axes.imshow(table, aspect="auto", vmin=0, vmax=1, cmap="Blues_r")
    axes.set(xlabel="trial", ylabel="decoder layer")
    axes.figure.colorbar(drawn_image, ax=axes, label="vision tokens kept")


_DRAW: Mapping[Figure, Callable[[StudyView, Any], None]] = {
    "curve": _curve,
    "questions": _questions,
    "costs": _costs,
    "timeline": _timeline,
    "image": _image,
}
