"""The `db` commands: care for a store."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from schedsearch.cli import render_studies as render
from schedsearch.cli.options import AsJson
from schedsearch.cli.output import output, print_json
from schedsearch.cli.studies import DEFAULT_STORE, StorePath
from schedsearch.cli.targets import Force, beside

db = typer.Typer(name="db", help="Care for a store of studies.", no_args_is_help=True)


@db.command()
def upgrade(store: StorePath = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Bring the tables of an older version up to date; make a backup first."""
    from schedsearch.store.store import upgrade as bring_up

    before, after = bring_up(store)
    if as_json:
        print_json({"before": before, "after": after})
    else:
        output.print(f"already at revision {after}" if before == after else f"{before} -> {after}")


@db.command()
def check(store: StorePath = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Look for damage; exit 1 if there is any."""
    from schedsearch.store.store import check_store

    found = check_store(store)
    if as_json:
        print_json(found)
    else:
        render.store_check(found)
    if found.problems:
        raise typer.Exit(1)


@db.command()
def prune(
    studies: Annotated[list[str] | None, typer.Argument(help="Studies to delete.")] = None,
    store: StorePath = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete studies, and evaluations that no study uses."""
    from schedsearch.store.store import open_store

    with open_store(store, create=False) as opened:
        lost = opened.prune(studies or (), dry_run)
    if as_json:
        print_json(lost)
    else:
        render.pruned(lost, dry_run)


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(help="New file; - for standard output.")],
    store: StorePath = DEFAULT_STORE,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Copy a store that may be in use into a new file."""
    from schedsearch.store.store import open_store

    with beside(file, as_json):
        with open_store(store, read_only=True) as opened:
            opened.backup(file, force)
        if as_json:
            print_json({"backup": str(file)})
        else:
            output.print(f"Backup: {escape(str(file))}")


@db.command()
def free(
    study: Annotated[str, typer.Argument(help="Study whose coordinator is known to be gone.")],
    store: StorePath = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Take a study from its coordinator at once, without waiting until the lease lapses."""
    from schedsearch.store.store import open_store

    with open_store(store, create=False) as opened:
        holder = opened.free(study)
    if as_json:
        print_json({"freed": holder})
    else:
        output.print(f"freed from {holder}" if holder else "nobody held it")
