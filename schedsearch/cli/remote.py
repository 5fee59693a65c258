"""Studies of a service in a terminal: list, show, export, pause, stop."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from schedsearch.cli import render_studies as render
from schedsearch.cli.output import bar, output, print_json, table
from schedsearch.cli.output import show as show_table
from schedsearch.cli.search_display import describe, duration
from schedsearch.cli.targets import beside
from schedsearch.client import Client, RefusedError

if TYPE_CHECKING:
    from schedsearch.client import Best, Status, Study
    from schedsearch.core.schedule import Schedule

PLAIN: Any = {"markup": False, "highlight": False, "soft_wrap": True}
CONFLICT = 409
_BAR = 40


def list_studies(url: str, as_json: bool) -> None:
    """List the studies of a service, the latest first."""
    with Client(url) as client:
        found = [study.status for study in client.studies.list()]
    if as_json:
        print_json(found)
        return
    rows = table("study", "model", "search", "trials", "created", "state", "searched by")
    for one in found:
        states = ", ".join(f"{count} {state.lower()}" for state, count in one.trials.items())
        created = f"{one.created:%Y-%m-%d %H:%M}"
        cells = (one.name, one.model, one.sampler, states or "none", created, one.state)
        rows.add_row(*map(escape, (*cells, searcher(one))))
    show_table(rows)


def show(url: str, name: str, every: bool, as_json: bool) -> None:
    """Show trials, the result layer by layer, and where the search stands."""
    with Client(url) as client:
        study = client.studies.get(name)
        total = sum(study.status.trials.values())
        if as_json:
            from schedsearch.app.study_view import trial_row

            print_json([trial_row(trial) for trial in study.trials()] if total else [])
            return
        last = islice(study.trials(descending=True, page=render.LAST), render.LAST)
        trials = list(study.trials()) if every and total else list(last)[::-1] if total else []
        render.trials(trials, total)
        try:
            result(study, study.best())
        except RefusedError as error:
            if error.status != CONFLICT:
                raise
            output.print(str(error), **PLAIN)
    output.print(standing(study.status), **PLAIN)


def export(
    url: str,
    name: str,
    out: Path,
    budget: float | None,
    max_drop: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a schedule as the service gives it."""
    with beside(out, as_json), Client(url) as client:
        study = client.studies.get(name)
        best = study.best(budget, max_drop)
        best.save(out, force=force)
        if as_json:
            print_json({"schedule": str(out), "trial": best.trial, "claim": best.claim})
        else:
            claim(study, best)
            output.print(f"Schedule: {escape(str(out))}")


def ask(url: str, name: str, as_json: bool, wish: Literal["pause", "stop"]) -> None:
    """Have a search end."""
    with Client(url) as client:
        study = client.studies.get(name)
        active, holder = study.status.active, study.status.holder
        if active:
            study.pause() if wish == "pause" else study.stop()
    if as_json:
        print_json({"asked": holder if active else None, "state": study.state})
    elif not active:
        output.print(f"nobody searches {name}; there is nothing to {wish}", **PLAIN)
    elif holder is None:
        output.print(f"{name} waits no longer", **PLAIN)
    else:
        output.print(f"{holder} is asked to {wish}", **PLAIN)


def result(study: "Study", best: "Best") -> None:
    """A result layer by layer, and what it costs and loses."""
    curve(best.schedule)
    if best.trial is None:
        output.print(
            f"certified: FLOPs ratio {best.flops_ratio:.3f}, KV cache ratio {best.kv_ratio:.3f}"
        )
    claim(study, best)


def curve(schedule: "Schedule") -> None:
    """Keep ratios layer by layer, as bars."""
    rows = table("layer", "keep", "of the vision tokens")
    rows.columns[-1].justify = "left"
    for layer, keep in enumerate(schedule.keep):
        rows.add_row(str(layer), f"{keep:.3f}", bar(round(keep * _BAR)))
    show_table(rows)


def claim(study: "Study", best: "Best") -> None:
    """What is proven of a result; where nothing is, what its trial costs, and what it loses."""
    if best.claim is not None:
        output.print(escape(best.claim), soft_wrap=True)
    if best.trial is not None:
        render.picked(study.trial(best.trial))
        render.loss(best.loss)


def searcher(status: "Status") -> str:
    """Who searches a study, and what that is asked to do."""
    if status.holder is None:
        return "nobody"
    return status.holder + (f", asked to {status.wish}" if status.wish not in ("run", None) else "")


def standing(status: "Status") -> str:
    """Where a study stands, in a line."""
    if status.state == "queued":
        return f"{status.name}: waits for its turn"
    if status.state == "starting":
        return f"{status.name}: the search begins"
    if status.state != "running":
        ended = ": ".join(one for one in (status.ending, status.reason) if one)
        return f"nobody searches {status.name}" + (f"; the last search is {ended}" * bool(ended))
    words = describe(status.progress) if status.progress else "the search begins"
    left = status.progress.seconds_left if status.progress else None
    about = "" if left is None else f", about {duration(left)} left"
    return f"{status.name}: {words}{about}; searched by {searcher(status)}"
