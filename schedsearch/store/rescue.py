"""A store whose file was lost while it was in use: saved from what is still at hand."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Trial
from schedsearch.errors import SchedsearchError
from schedsearch.store.backup import copy
from schedsearch.store.database import Database
from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.place import StoreLostError

if TYPE_CHECKING:
    from schedsearch.store.store import Store


class Scored(NamedTuple):
    """Evaluations in one context, which `Store.context_id` describes."""

    digest: str
    description: Mapping[str, Any]
    evaluations: Mapping[EvaluationKey, Evaluation]


class Held(NamedTuple):
    """What a search holds in memory."""

    spec: StudySpec
    trials: Sequence[Trial]
    scored: Sequence[Scored]


def rescue(
    database: Database, lost: StoreLostError, held: Held, opener: Callable[[Path], "Store"]
) -> StoreLostError:
    """Write a new store beside the lost one; return an error that names it.

    It has the whole content, if an open connection still has it, else what the search holds. The
    lost file's log is dropped then.

    Args:
        database: Of the lost store.
        lost: How that was noticed.
        held: What the search holds.
        opener: Opens, or makes, a store.
    """
    try:
        return _saved(database, lost, held, opener)
    finally:
        database.drop_log()


def _saved(
    database: Database, lost: StoreLostError, held: Held, opener: Callable[[Path], "Store"]
) -> StoreLostError:
    for path in _places(database):
        with suppress(OSError, SchedsearchError):
            path.open("xb").close()
            try:
                whole = _copied(database, path)
                _complete(opener, path, held, whole)
            except BaseException:
                for end in ("", "-wal", "-shm", "-journal"):
                    with suppress(OSError):
                        os.unlink(f"{path}{end}")
                raise
            what = "its content" if whole else f"what was at hand of study `{held.spec.name}`"
            return StoreLostError(
                f"{lost}; {what} is in {path}: run again with that file as the store to continue"
            )
    return StoreLostError(f"{lost}; nowhere could another be written: free space and search again")


def _places(database: Database) -> Iterator[Path]:
    assert database.file, "a server's store has no file to lose"
    name = database.file.name.removesuffix(".db")
    stamp = time.strftime("%Y%m%dT%H%M%S")
    folders: list[Path] = [Path(os.path.abspath(database.file)).parent]
    with suppress(OSError):
        folders.append(Path.cwd())
    for folder in [*folders, Path(tempfile.gettempdir())]:
        for number in ("", "-2", "-3", "-4"):
            yield folder / f"{name}.rescue-{stamp}{number}.db"


def _copied(database: Database, path: Path) -> bool:
    """Copy through a connection that still has the file; False where none has all of it."""
    if database.emptied:
        return False
    try:
        copy(database, path, path, lost=True)
        with closing(sqlite3.connect(path)) as made:
            sound = made.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except (SchedsearchError, sqlite3.Error):
        sound = False
    if not sound:
        path.write_bytes(b"")
    return sound


def _complete(opener: Callable[[Path], "Store"], path: Path, held: Held, whole: bool) -> None:
    """Add what the search holds and the file does not; nobody coordinates the study."""
    with opener(path) as store:
        name = held.spec.name
        store.create_study(held.spec)
        if whole:
            store.free(name)
        else:
            with store.lease(name) as lease:
                for trial in held.trials:
                    store.open_trial(lease, trial.params, trial.schedule, trial.samples)
                    if trial.state.finished:
                        attempt = store.start_attempt(lease, trial.number)
                        store.close_trial(lease, trial, attempt)
        for digest, description, evaluations in held.scored:
            store.add_scores(store.context_id(name, digest, description), evaluations)
