"""The numbers behind the pictures of a study, as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

from schedsearch.app.baselines import at_equal_cost
from schedsearch.app.happened import questions, timeline
from schedsearch.app.points import limits
from schedsearch.app.slices import slices
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full, pareto

Rows = Iterable[Sequence[object]]


def table(heads: Sequence[str], rows: Rows) -> str:
    """A table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue()


def curves_table(curves: Iterable[tuple[str, Sequence[float]]]) -> str:
    """Keep ratios of schedules, a row for each layer; empty where one has fewer layers."""
    known = list(curves)
    depth = max((len(keep) for _, keep in known), default=0)
    rows = (
        [layer, *(keep[layer] if layer < len(keep) else "" for _, keep in known)]
        for layer in range(depth)
    )
    return table(["layer", *(name for name, _ in known)], rows)


def curve(view: StudyView) -> str:
    """Keep ratios of the result, of what is certified, and of baselines at the same cost."""
    best = view.best_trial
    assert best.measurement is not None
    found = [("best", best.schedule.keep)]
    if view.certified is not None:
        found.append(("certified", view.certified.keep))
    others = at_equal_cost(view, best.measurement.flops_ratio)
    return curves_table([*found, *((one.name, schedule.keep) for one, schedule in others)])


def asked(view: StudyView) -> str:
    """Questions about layers; without a number of samples they were asked on all."""
    heads = "trial", "pass", "layer", "count", "samples", "answer"
    rows = (
        (one.trial, one.search_pass, one.layer, one.count, one.samples, one.answer)
        for one in questions(view)
    )
    return table(heads, rows)


def costs(view: StudyView) -> str:
    """Cost and drop of all trials that were measured on all samples."""
    cost, within = view.costs, limits(view)
    undominated = {trial.number for trial in pareto(view.trials, cost)}
    rows = (
        (trial.number, *cost(trial), within.hold(cost(trial)), trial.number in undominated)
        for trial in view.trials
        if full(trial)
    )
    return table(("trial", view.cost, "drop", "feasible", "undominated"), rows)


def spans(view: StudyView) -> str:
    """When workers were at work for trials."""
    rows = (
        (one.trial, str(one.state).lower(), one.started, one.ended, one.lane, one.worker)
        for one in timeline(view.trials, view.store.last_attempts(view.name))
    )
    return table(("trial", "state", "began", "ended", "lane", "worker"), rows)


def image(view: StudyView) -> str:
    """Keep ratios of all trials."""
    layers = [f"layer {layer}" for layer in range(view.spec.facts.layers)]
    return table(["trial", *layers], ([one.number, *one.schedule.keep] for one in view.trials))


def parameters(view: StudyView) -> str:
    """Parameters with the drops that were measured along them, and those that are expected."""
    heads = "parameter", "importance", "value", "trial", "drop", "low", "high"

    def rows() -> Rows:
        for one in slices(view):
            begin = one.parameter.name, one.importance
            for number, share, drop in one.measured:
                yield *begin, one.parameter.at(share), number, drop, "", ""
            for each in one.expected:
                value = one.parameter.at(each.share)
                yield *begin, value, "", each.drop, each.low, each.high

    return table(heads, rows())
