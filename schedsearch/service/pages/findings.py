"""What a study page shows of what was found: curves, questions, times, decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from schedsearch.app.baselines import at_equal_cost
from schedsearch.app.happened import Asked, Decision, Span, decisions, lanes, questions, timeline
from schedsearch.app.points import Limits, limits
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full, pareto
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.greedy import GSearch
from schedsearch.service.pages.plots import Axis, axis, counts, layers, ratios, steps

_SPANS = 400
_ASKED = 1500
_LOG = 200


@dataclass(frozen=True)
class Curve:
    """A schedule over depth.

    Attributes:
        name: What it is called.
        what: What it is, in words.
        schedule: It.
        flops_ratio: What it costs.
        style: CSS class.
    """

    name: str
    what: str
    schedule: Schedule
    flops_ratio: float
    style: str

    @property
    def path(self) -> str:
        """Of an SVG, in layers and ratios."""
        return steps(self.schedule.keep)


@dataclass(frozen=True)
class Bar:
    """Work for a trial, in percent of the picture.

    Attributes:
        span: When that was.
        x: Where it begins.
        width: How wide it is.
    """

    span: Span
    x: float
    width: float


@dataclass(frozen=True)
class Findings:
    """What was found so far.

    Attributes:
        view: The study.
        best: The result so far; None before there is one.
        within: What a result must keep to.
        curves: The result, the certified schedule, baselines.
        undominated: Trials that no other beats in both cost and drop, with both.
        asked: Questions about layers.
        bars: What was at work when.
        lanes: The same, side by side, with what is named above each.
        workers: How many workers are known of.
        log: What was decided when, the latest first.
        seconds: Axis of the times at work; None where there are none.
    """

    view: StudyView
    best: Trial | None
    within: Limits
    curves: Sequence[Curve]
    undominated: Sequence[tuple[Trial, float, float]]
    asked: Sequence[Asked]
    bars: Sequence[Bar]
    lanes: Sequence[tuple[str, Sequence[Bar]]]
    workers: int
    log: Sequence[Decision]
    seconds: Axis | None

    @property
    def feasible(self) -> bool:
        """Whether the result keeps to the limits."""
        measured = full(self.best) if self.best else None
        return measured is not None and self.within.hold((measured[0].flops_ratio, measured[1]))

    @property
    def by_layers(self) -> bool:
        """Whether the search asks layer by layer."""
        return isinstance(self.view.sampler, GSearch)

    @property
    def depth(self) -> Axis:
        """Axis of the layers."""
        return layers(self.view.spec.facts.layers)

    @property
    def share(self) -> Axis:
        """Axis of keep ratios."""
        return ratios("vision tokens kept")

    @property
    def counts(self) -> Axis:
        """Axis of kept counts."""
        n_max = self.view.sampler.n_max
        return counts(n_max, f"vision tokens asked for, of {n_max}")


def findings(view: StudyView) -> Findings:
    """What a snapshot of a study has found."""
    trials = view.trials
    attempts = view.store.last_attempts(view.name)
    try:
        best = view.best_trial
    except InputError:
        best = None
    spans = timeline(trials, attempts, _SPANS)
    seconds, bars = _bars(spans)
    cost = view.costs
    return Findings(
        view=view,
        best=best,
        within=limits(view),
        curves=_curves(view, best),
        undominated=[(trial, *cost(trial)) for trial in pareto(trials, cost)],
        asked=questions(view)[-_ASKED:],
        bars=list(bars.values()),
        lanes=[(name, [bars[one] for one in own]) for name, own in lanes(spans)],
        workers=len({one.worker for one in spans if one.worker}),
        log=decisions(view, attempts)[:_LOG],
        seconds=seconds,
    )


def _curves(view: StudyView, best: Trial | None) -> list[Curve]:
    if best is None or best.measurement is None:
        return []
    flops = best.measurement.flops_ratio
    found = [Curve("best", f"trial {best.number}", best.schedule, flops, "cb")]
    link = view.certification.best if view.certification else None
    if link is not None and link.schedule.keep != best.schedule.keep:
        found.append(Curve("certified", link.what, link.schedule, link.flops_ratio, "c3"))
    styles = iter(("c1", "c4", "c5"))
    for one, schedule in at_equal_cost(view, flops):
        found.append(Curve(one.name, one.what, schedule, flops, next(styles)))
    return found


def _bars(spans: Sequence[Span]) -> tuple[Axis | None, dict[Span, Bar]]:
    if not spans:
        return None, {}
    began = min(one.started for one in spans)
    ends = [one.ended or one.started for one in spans]
    last = max((_since(began, end) for end in ends), default=0.0)
    unit, words = (60.0, "minutes") if last > 180 else (1.0, "seconds")
    along = axis(f"{words} since the first of these", (0.0, max(last, 1.0) / unit))
    bars = {}
    for one in spans:
        start = _since(began, one.started) / unit
        end = along.high if one.ended is None else _since(began, one.ended) / unit
        x = along.at(start)
        width = max(0.15, round(along.at(end) - x, 2))
        bars[one] = Bar(one, x, width)
    return along, bars


def _since(began: datetime, time: datetime) -> float:
    return (time - began).total_seconds()
