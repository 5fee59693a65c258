"""Studies, trials and stores as tables in a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from schedsearch.cli.output import bar, output, show, table
from schedsearch.cli.render import estimate
from schedsearch.cli.render_certificate import render as certificate
from schedsearch.cli.search_display import describe, searcher
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.app.compare_families import FamilyComparison
    from schedsearch.app.study_view import StudyView
    from schedsearch.core.certificate import Certification
    from schedsearch.core.comparison import Comparison, Loss
    from schedsearch.core.trial import Effort, Trial
    from schedsearch.execution.loop import Run
    from schedsearch.samplers.which_ranker import Rung
    from schedsearch.store.check import CheckReport
    from schedsearch.store.copying import Copied
    from schedsearch.store.studies import StudySummary

_BAR = 40
LAST = 20
"""Trials that are shown where nobody asks for all."""


def run(found: "Run", view: "StudyView") -> None:
    """What a run of a search did."""
    output.print(
        f"{escape(view.name)}: {found.closed} trials in {found.seconds:.0f} s, "
        f"{found.evaluated} evaluations of a sample"
    )
    effort(found.effort)
    if found.best is not None:
        curve(view)


def effort(cost: "Effort") -> None:
    """What a search has cost so far, and what its schedules would have cost naively."""
    if cost.spent:
        output.print(
            f"work of the whole study: {cost.spent:.1f} full passes over the calibration set "
            f"(decoder FLOPs); the same schedules on all samples by full forwards: "
            f"{cost.naive:.1f}"
        )


def curve(view: "StudyView") -> None:
    """The result layer by layer, as bars."""
    rows = table("layer", "tokens", "keep", "asked", f"of {view.sampler.n_max} vision tokens")
    rows.columns[-1].justify = "left"
    for layer in view.layers():
        kept = bar(round(layer.keep * _BAR))
        asked = "" if layer.trials is None else str(layer.trials)
        rows.add_row(str(layer.layer), str(layer.count), f"{layer.keep:.3f}", asked, kept)
    show(rows)
    picked(view.best_trial)


def picked(trial: "Trial") -> None:
    """What a trial costs, in a line."""
    measured = trial.measurement
    assert measured is not None
    output.print(
        f"trial {trial.number}: FLOPs ratio {measured.flops_ratio:.3f}, KV cache ratio "
        f"{measured.kv_ratio:.3f}"
    )


def loss(found: "Loss | None") -> None:
    """What a schedule loses, never by the samples that chose it."""
    from schedsearch.app.report_certificate import loses

    output.print(escape(loses(found)), soft_wrap=True)


def proof_or_loss(proof: "Certification | None", found: "Loss | None") -> None:
    """The last words of a search."""
    if proof is None:
        loss(found)
    else:
        certificate(proof)


def frontier(view: "StudyView") -> None:
    """The trials that no other beats in both cost and quality."""
    found = view.frontier
    rows = table("trial", found.cost, "calibration drop", title="undominated trials")
    for trial, (cost, drop) in zip(found.trials, found.costs, strict=True):
        rows.add_row(str(trial.number), f"{cost:.4f}", f"{drop:.4f}")
    show(rows)
    cost, drop = found.reference
    output.print(
        f"hypervolume {found.hypervolume[-1]:.4f}, against {found.cost} {cost:.4g} and drop "
        f"{drop:.4f}"
    )


def studies(found: Sequence["StudySummary"]) -> None:
    """All studies of a store."""
    rows = table("study", "model", "metric", "trials", "created", "searched by")
    for summary in found:
        states = ", ".join(f"{count} {state.lower()}" for state, count in summary.trials.items())
        spec = summary.spec
        cells = (spec.name, spec.model, spec.metric, states or "none")
        rows.add_row(
            *map(escape, cells),
            f"{summary.created:%Y-%m-%d %H:%M}",
            escape(searcher(summary)),
        )
    show(rows)


def at_work(found: "StudySummary") -> None:
    """Who searches a study, and where that stood at the last heartbeat; nothing if nobody does."""
    if found.holder is not None:
        where = f"{describe(found.progress)}; " if found.progress else ""
        output.print(escape(f"{where}searched by {searcher(found)}"), soft_wrap=True)


def study(view: "StudyView", every: bool) -> None:
    """Trials of a study, all or the last ones, and its result so far."""
    found = view.trials
    trials(found if every else found[-LAST:], len(found))
    if view.rungs:
        rankers(view.rungs)
    try:
        curve(view)
        if (lost := view.loss(view.best)) or view.finished:
            loss(lost)
    except InputError as error:
        output.print(escape(str(error)))
        return
    effort(view.effort)
    frontier(view)
    ended = "finished" if view.finished else "not finished"
    if (nesting := view.nesting) is not None:
        ended += (
            f"; keeping more was rejected where keeping less was accepted in "
            f"{nesting.violations} of {nesting.comparable} comparable pairs of trials"
        )
    output.print(ended)


def trials(shown: Sequence["Trial"], total: int) -> None:
    """Trials, and how many there are where these are not all."""
    rows = table("trial", "state", "question", "score", "drop", "FLOPs ratio", "reason")
    for trial in shown:
        rows.add_row(*map(escape, _cells(trial)))
    show(rows)
    if len(shown) < total:
        output.print(f"the last {len(shown)} of {total} trials; --all shows every one")


def rankers(rungs: Sequence["Rung"]) -> None:
    """What each of several rankers has lost, round by round."""
    from schedsearch.app.report_search import drops_of

    columns = [f"round {number}, {rung.samples}" for number, rung in enumerate(rungs, 1)]
    rows = table("ranker", *columns, title="expected drop by ranker, round and samples")
    for name, drops in drops_of(rungs):
        rows.add_row(escape(name), *drops)
    show(rows)


def _cells(trial: "Trial") -> tuple[str, ...]:
    chosen = ", ".join(f"{name} {_figure(value)}" for name, value in trial.params.items())
    asked = "enqueued" if trial.enqueued else chosen
    measured = trial.measurement
    if measured is None:
        return str(trial.number), str(trial.state), asked, "", "", "", trial.reason
    drop = "" if measured.drop is None else f"{measured.drop:.4f}"
    figures = (f"{measured.score:.4f}", drop, f"{measured.flops_ratio:.3f}")
    return str(trial.number), str(trial.state), asked, *figures, ""


def _figure(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def comparison(found: "Comparison") -> None:
    """The found schedule beside baselines on held-out data."""
    rows = table(
        "",
        found.metric,
        "minus found, paired",
        "FLOPs",
        "KV",
        title=f"{escape(found.data)}, {found.samples} samples, never seen by the search",
    )
    for row in found.rows:
        if row.score is None:
            rows.add_row(escape(row.name), escape(f"not available: {row.reason}"), "", "", "")
            continue
        difference = "" if row.difference is None else estimate(row.difference)
        rows.add_row(
            escape(row.name),
            estimate(row.score),
            difference,
            f"{row.flops_ratio:.3f}",
            f"{row.kv_ratio:.3f}",
        )
    show(rows)
    output.print(
        f"drop of the found schedule, paired: {estimate(found.drop)}; measured prefill "
        f"{found.prefill_speedup:.2f}x faster"
    )


def family_comparison(found: "FamilyComparison") -> None:
    """Every family's best under each budget, on held-out data."""
    from schedsearch.app.compare_families_report import verdict

    output.print(f"full model: {found.metric} {estimate(found.full)}")
    for one in found.rounds:
        rows = table(
            "", found.metric, "minus P-Sigmoid", "FLOPs", "tried", title=f"budget {one.budget}"
        )
        for entry in one.entries:
            row = entry.row
            if row.score is None:
                rows.add_row(escape(row.name), escape(f"not available: {row.reason}"), "", "", "")
                continue
            difference = "" if row.difference is None else estimate(row.difference)
            tried = str(entry.evaluations)
            rows.add_row(
                escape(row.name), estimate(row.score), difference, f"{row.flops_ratio:.3f}", tried
            )
        show(rows)
        output.print(verdict(one))


def store_check(found: "CheckReport") -> None:
    """Whether a store is sound."""
    rows = table("table", "rows")
    for name, count in found.rows.items():
        rows.add_row(name, str(count))
    show(rows)
    for note in found.notes:
        output.print(escape(note))
    for problem in found.problems:
        output.print(f"[red]{escape(problem)}[/]")
    if not found.problems:
        output.print("no defects")


def pruned(lost: Mapping[str, int], dry_run: bool) -> None:
    """What prune deleted, or would."""
    rows = table("table", "rows that would go" if dry_run else "rows deleted")
    for name, count in lost.items():
        rows.add_row(name, str(count))
    show(rows)


def copied(found: Sequence["Copied"]) -> None:
    """What was copied of each study."""
    rows = table("study", "trials", "evaluations that were new")
    for one in found:
        trials = str(one.trials) if one.is_new else f"{one.trials}, as they were"
        rows.add_row(escape(one.study), trials, str(one.evaluations))
    show(rows)
