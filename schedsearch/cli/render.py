"""Results as tables in a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from schedsearch.cli.output import matrix, output, show, table
from schedsearch.core.intervals import Interval

if TYPE_CHECKING:
    from schedsearch.app.analyze import Analysis
    from schedsearch.app.apply import Application
    from schedsearch.app.demo import DemoAccuracy
    from schedsearch.app.doctor import Check
    from schedsearch.app.objectives import Objectives
    from schedsearch.app.power import Power

_SHOWN_CHANGES = 5


def estimate(interval: Interval) -> str:
    """Value with its 95 % interval."""
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def application(result: "Application") -> None:
    """What a schedule does to a model."""
    quality = result.quality
    costs = table(
        "",
        "value",
        title=f"{escape(result.model)} ({result.architecture}) on "
        f"{escape(result.data)}, {result.samples} samples",
    )
    costs.add_row("keep ratio by layer", " ".join(f"{keep:.2f}" for keep in result.keep))
    costs.add_row("ranker", result.ranker)
    costs.add_row("mean keep ratio", f"{result.mean_keep:.3f}")
    costs.add_row("FLOPs ratio", f"{result.flops_ratio:.3f}")
    costs.add_row("KV cache ratio", f"{result.kv_ratio:.3f}")
    without, with_ = result.prefill_seconds
    costs.add_row(
        f"prefill of {result.prefill_batch}, measured",
        f"{result.prefill_speedup:.2f}x faster ({without * 1e3:.0f} ms -> {with_ * 1e3:.0f} ms)",
    )
    costs.add_row(f"{quality.metric}, full model", estimate(quality.full))
    costs.add_row(f"{quality.metric}, with the schedule", estimate(quality.reduced))
    costs.add_row(f"{quality.metric}, same counts, random tokens", estimate(quality.random))
    costs.add_row("drop, paired", estimate(quality.drop))
    costs.add_row("gain over random, paired", estimate(quality.gain_over_random))
    costs.add_row("changed answers", str(len(quality.changed)))
    show(costs)
    if result.claim is not None:
        output.print(escape(result.claim), soft_wrap=True)
    if result.doubt is not None:
        output.print(escape(f"But {result.doubt}."), soft_wrap=True)
    if quality.kinds:
        kinds = table("kind of question", "full model", "with the schedule")
        for kind, (full, reduced) in sorted(quality.kinds.items()):
            kinds.add_row(kind or "-", estimate(full), estimate(reduced))
        show(kinds)
    if quality.changed and quality.changed[0].full is not None:
        changes = table("some changed answers", "reference", "full", "reduced")
        for change in quality.changed[:_SHOWN_CHANGES]:
            cells = (change.question, change.reference, change.full or "", change.reduced or "")
            changes.add_row(*map(escape, cells))
        show(changes)


def analysis(result: "Analysis") -> None:
    """How layers rank and use vision tokens."""
    layers, found = range(result.layers), result.attention
    taus = {str(layer): [f"{value.value:.2f}" for value in found.tau[layer]] for layer in layers}
    title = "Kendall's tau between rankings"
    for part in matrix("layer", list(taus), taus, title):
        show(part)
    output.print(
        f"neighbouring layers: {result.tau_neighbours:.2f} on average, "
        f"random order: {estimate(found.random_tau)}"
    )
    mass = table("layer", "attention on vision", "on as many random tokens")
    for layer in layers:
        mass.add_row(str(layer), estimate(found.mass[layer]), estimate(found.uniform_mass))
    show(mass)
    gone = table(
        "vision withdrawn from layer", result.metric, "random tokens, same FLOPs", "FLOPs ratio"
    )
    for row in result.withdrawals:
        name = str(row.layer) if row.layer < result.layers else "never"
        gone.add_row(name, estimate(row.score), estimate(row.random), f"{row.flops_ratio:.3f}")
    show(gone)
    if result.objectives is not None:
        objectives(result.objectives)


def power(result: "Power") -> None:
    """What numbers of samples tell apart, and what tolerances take."""
    rows = table("schedule", "FLOPs ratio", "drop", "half-width", title=escape(result.of))
    for one in result.seen:
        name = escape(one.name) + (" *" if one == result.basis else "")
        rows.add_row(
            name, f"{one.flops_ratio:.3f}", f"{one.changes.drop:.4f}", f"{one.half_width:.4f}"
        )
    show(rows)
    output.print(
        f"* the plans below: as {escape(result.metric)} changes there, with probability .8"
    )
    sizes = table("samples", "tell from 0 a drop of", "prove of one without loss")
    for size in result.sizes:
        proven = "-" if size.provable is None else f"{size.provable:.4f}"
        sizes.add_row(str(size.n), f"{size.detectable:.4f}", proven)
    show(sizes)
    asked = table("tolerance", "samples to tell it from 0", "samples to prove it")
    for row in result.tolerances:
        proves = "-" if row.proves is None else str(row.proves)
        asked.add_row(f"{row.tolerance:g}", str(row.detects), proves)
    show(asked)


def objectives(result: "Objectives") -> None:
    """Which objective ranks schedules as the metric does."""
    rows = table(
        "objective",
        f"Spearman with {result.metric}",
        "the same at equal FLOPs",
        title=f"How {len(result.schedules)} random schedules are ranked",
    )
    for name, found in result.spearman.items():
        told = (found, result.beyond_cost.get(name))
        rows.add_row(name, *(estimate(one) if one else "-" for one in told))
    show(rows)


def demo_accuracy(result: "DemoAccuracy") -> None:
    """Accuracy by kind of question."""
    rows = table("kind of question", "accuracy", "questions", title=result.data)
    for kind, found in sorted(result.kinds.items()):
        rows.add_row(kind, estimate(found), str(found.n))
    rows.add_section()
    rows.add_row("all", estimate(result.overall), str(result.overall.n))
    show(rows)


def checks(found: Sequence["Check"]) -> None:
    """What is installed, and what to do about the rest."""
    rows = table("part", "state", "remedy")
    for check in found:
        colour = "green" if check.ok else "red" if check.required else "yellow"
        rows.add_row(check.name, f"[{colour}]{escape(check.found)}[/]", escape(check.remedy))
    show(rows)
