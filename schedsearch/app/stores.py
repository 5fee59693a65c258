"""Stores that are there, and places where one could be made: looked at, never touched."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schedsearch.core.guards import guarded
from schedsearch.errors import InputError, RunError
from schedsearch.store.address import check_folder, check_writable, file_of, name_of, url_of
from schedsearch.store.store import Store, find_store

Target = str | os.PathLike[str]


@contextmanager
def in_use(store: Target, *files: Path) -> Iterator[None]:
    """Let no output of a command replace its store or the files that it reads."""
    file = file_of(url_of(store))
    with guarded(*files, *([file] if file else [])):
        yield


def look(target: Target, study: str, create: bool = True) -> Store | None:
    """The store at a place, to be read, which the caller closes; None where it is yet to be made.

    Whoever looks is going to write there.

    Args:
        target: Path or URL.
        study: Name of a study.
        create: Whether store and study may be missing.

    Raises:
        InputError: The store cannot be opened, made or written, or lacks the study.
    """
    url = url_of(target)
    file, found = file_of(url), find_store(target)
    try:
        known = [] if found is None else [one.spec.name for one in found.studies()]
        if study not in known and not create:
            raise InputError(
                f"study `{study}` has no result yet: "
                f"{'there is no store' if found is None else 'it is not in'} {name_of(url)}; "
                f"run `schedsearch search` first"
            )
        if file is not None:
            _check_place(file, is_new=found is None)
    except BaseException:
        if found is not None:
            found.close()
        raise
    return found


def check_idle(target: Target, study: str) -> None:
    """Refuse early a study that somebody searches; whoever searches it takes its lease anyway.

    Args:
        target: Path or URL of a store, which may be yet to be made.
        study: Name of the study.

    Raises:
        InputError: The store cannot be opened.
        RunError: Somebody does.
    """
    if (opened := find_store(target)) is None:
        return
    with opened:
        known = next((one for one in opened.studies() if one.spec.name == study), None)
    if known is not None and known.left:
        raise RunError(
            f"study `{study}` is being searched by {known.holder}; end it with `schedsearch stop`, "
            f"or wait: its lease is valid for {known.left:.0f} s unless it gives another sign"
        )


def _check_place(file: Path, is_new: bool) -> None:
    if not is_new:
        check_writable(file)
        return
    check_folder(file)
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise InputError(f"the store {file} cannot be made: no right to write in {file.parent}")
