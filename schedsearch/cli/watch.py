"""Commands for a search that another process runs: watch, pause, stop."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schedsearch.cli.options import AsJson, Server, server_of
from schedsearch.cli.output import output, print_json
from schedsearch.cli.search_display import SearchDisplay, describe, duration, lapse, searcher
from schedsearch.cli.studies import DEFAULT_STORE, StorePath, StudyName
from schedsearch.errors import RunError

if TYPE_CHECKING:
    from schedsearch.core.progress import Wish
    from schedsearch.core.trial import Trial
    from schedsearch.store.store import Store
    from schedsearch.store.studies import StudySummary

POLL = 1.0
"""Seconds between two looks at the store."""

_PLAIN: Any = {"markup": False, "highlight": False, "soft_wrap": True}


def watch(
    context: typer.Context,
    study: StudyName,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    once: Annotated[bool, typer.Option("--once", help="Say where it stands, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a search that another process runs, until it ends; with --json a line per change."""
    if (url := server_of(context, server)) is not None:
        from schedsearch.cli import remote_search

        remote_search.watch(url, study, once, as_json)
        return

    from schedsearch.store.store import open_store

    with open_store(store, read_only=True) as opened:
        if as_json:
            _print_changes(opened, study, once)
        elif once or opened.study(study).holder is None:
            output.print(standing(opened.study(study)), **_PLAIN)
        else:
            _draw(opened, study)
            output.print(f"the search of {study} has ended", **_PLAIN)


def _print_changes(store: "Store", study: str, once: bool) -> None:
    told = None
    for found in _looks(store, study):
        change = (found.beat, found.wish, found.holder, found.trials)
        if change != told:
            print_json(found, indent=None)
            output.file.flush()
            told = change
        if once:
            return


def _draw(store: "Store", study: str) -> None:
    closed = Closed(store, study)
    with SearchDisplay(study, output) as display:
        for found in _looks(store, study):
            for trial in closed.new():
                display.report(trial)
            if found.progress is not None:
                display.draw(found.progress, found.silence or 0.0)


def _looks(store: "Store", study: str) -> Iterator["StudySummary"]:
    """The study, look after look, until twice nobody searches it: then nobody judges it either.

    Raises:
        RunError: Whoever searched is gone.
    """
    free = 0
    while free < 2:
        found = store.study(study)
        free = free + 1 if found.holder is None else 0
        yield found
        if free == 0:
            _check_alive(found)
        if free < 2:
            time.sleep(POLL)


class Closed:
    """The trials that are closed while somebody watches."""

    def __init__(self, store: "Store", study: str) -> None:
        self._store = store
        self._study = study
        self._settled = -1
        self._told: set[int] = set()
        self.new()

    def new(self) -> "list[Trial]":
        """Those closed since the last call; only what may have changed is read."""
        trials = self._store.trials(self._study, after=self._settled)
        found = [one for one in trials if one.state.finished and one.number not in self._told]
        self._told |= {one.number for one in found}
        while self._settled + 1 in self._told:
            self._settled += 1
            self._told.remove(self._settled)
        return found


def _check_alive(found: "StudySummary") -> None:
    """Say so where the coordinator is gone.

    Raises:
        RunError: It is, as far as can be seen.
    """
    name, holder = found.spec.name, found.holder
    assert holder is not None
    if found.left:
        return
    if holder.runs() is False:
        raise RunError(
            f"{holder}, which searched `{name}`, is gone; search again to go on where it was"
        )
    raise RunError(
        f"{holder}, which searches `{name}`, gave no sign for {duration(found.silence or 0.0)} and "
        f"its lease has lapsed; search again to take over where it was"
    )


def standing(found: "StudySummary") -> str:
    """Who searches a study and where that stands, in a line.

    Raises:
        RunError: Whoever searched is gone.
    """
    if found.holder is None:
        return f"nobody searches {found.spec.name}"
    _check_alive(found)
    words = describe(found.progress) if found.progress else "the search begins"
    left = found.progress.seconds_left if found.progress else None
    about = "" if left is None else f", about {duration(left)} left"
    return f"{found.spec.name}: {words}{about}; searched by {searcher(found)}"


def pause(
    context: typer.Context,
    study: StudyName,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Let a search end once its trials at work are closed; `search` goes on."""
    _ask(study, store, server_of(context, server), as_json, "pause")


def stop(
    context: typer.Context,
    study: StudyName,
    store: StorePath = DEFAULT_STORE,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """End a search within seconds; its trials at work wait until `search` goes on."""
    _ask(study, store, server_of(context, server), as_json, "stop")


def _ask(study: str, store: str, url: str | None, as_json: bool, wish: "Wish") -> None:
    if url is not None:
        from schedsearch.cli import remote

        remote.ask(url, study, as_json, "pause" if wish == "pause" else "stop")
        return

    from schedsearch.store.store import open_store

    with open_store(store, read_only=True) as opened:
        found = opened.study(study)
    holder = found.holder
    if holder is not None:  # else nothing is to be written, nor need it be allowed
        with open_store(store, create=False) as opened:
            holder = opened.wish(study, wish)
    if as_json:
        print_json({"asked": holder})
    elif holder is None:
        output.print(f"nobody searches {study}; there is nothing to {wish}", **_PLAIN)
    else:
        doubt = "" if found.left else f", but gives {lapse(found)}"
        output.print(f"{holder} is asked to {wish}{doubt}", **_PLAIN)
