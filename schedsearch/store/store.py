"""The store: what was searched, what was found, and what need not be evaluated again."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar, TypeVarTuple

from sqlalchemy import Connection

from schedsearch.core.certificate import Certification, Request
from schedsearch.core.comparison import Comparison
from schedsearch.core.exhibit import Exhibit
from schedsearch.core.plugin import ParamValue
from schedsearch.core.progress import Progress, Wish
from schedsearch.core.schedule import Schedule
from schedsearch.core.stint import Stint
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Effort, Trial
from schedsearch.errors import SchedsearchError
from schedsearch.store import (
    admin,
    backup,
    certifications,
    check,
    comparisons,
    copying,
    evaluations,
    exhibits,
    lease,
    pages,
    rescue,
    schema,
    studies,
    trials,
)
from schedsearch.store.address import url_of
from schedsearch.store.check import CheckReport
from schedsearch.store.copying import Copied
from schedsearch.store.database import Database
from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.failures import DamagedError
from schedsearch.store.lease import Lease
from schedsearch.store.pages import ALL, Answer, Page, Place, Wanted
from schedsearch.store.place import StoreLostError
from schedsearch.store.process import Process
from schedsearch.store.rescue import Held
from schedsearch.store.service import ServiceStore
from schedsearch.store.studies import StudySummary
from schedsearch.store.trials import Attempt

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_NO_EFFORT = Effort()


def open_store(
    target: str | os.PathLike[str],
    create: bool = True,
    read_only: bool = False,
    patience: float = 0.0,
) -> "Store":
    """Return the store at a path (SQLite) or URL (`postgresql://...`); close it after use.

    An empty database gets the tables; a file that does not exist is made.

    Args:
        target: Path or URL.
        create: Whether to make a store where there is none.
        read_only: Only read, also where there is no right to write; nothing is made.
        patience: For how many seconds the store's methods wait for a server that fails: restarted,
            full, out of connections, taking no changes. What fails is tried once more in any case.

    Raises:
        InputError: It cannot be opened, has an older or newer revision of the tables, or is
            another program's; the message names it and the remedy.
    """
    url = url_of(target)
    if not read_only:
        schema.prepare(url, create)
        return Store(Database(url, reached=True, patience=patience))
    found = find_store(target)
    if found is None:
        raise schema.nothing(url)
    return found


def find_store(target: str | os.PathLike[str]) -> "Store | None":
    """Return the store at a path or URL, to be read only; None where there is none.

    Nothing is made. A missing file and an empty database are no store.

    Raises:
        InputError: As in `open_store`.
    """
    database = schema.find(url_of(target))
    if database is None:
        return None
    try:
        schema.check_tables(database)
    except BaseException:
        database.close()
        raise
    return Store(database)


def check_store(target: str | os.PathLike[str]) -> CheckReport:
    """Return what `Store.check` does, also for a store too damaged to be opened.

    Raises:
        InputError: There is no store, or it has another revision of the tables.
    """
    url = url_of(target)
    try:
        database = schema.find(url)
        if database is None:
            raise schema.nothing(url)
        with Store(database) as store:
            return store.check()
    except DamagedError as error:
        return CheckReport((str(error),), (), {})


def upgrade(target: str | os.PathLike[str]) -> tuple[str, str]:
    """Bring an older store to the present tables; return the revisions before and after.

    It happens as a whole or not at all.

    Raises:
        InputError: There is no store, or it is newer than this schedsearch.
    """
    return schema.upgrade(url_of(target))


class Store:
    """Studies, trials and evaluations in one database. Each method is one transaction.

    Whoever coordinates a study holds its lease, and what only the coordinator may write takes
    that lease. Any process may read, enqueue, and add scores: those are facts, whoever found them.

    Every method raises `RunError` when the database fails (full disk, lost server; after waiting
    for it, where the store was opened so) and `InputError` when it cannot be written at all; what
    was stored before stays in either case. A study that does not exist is an `InputError` too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; leases that are held stay held."""
        self._database.close()

    @property
    def name(self) -> str:
        """Path or URL, without a password."""
        return self._database.name

    @property
    def service(self) -> ServiceStore:
        """What a service keeps here."""
        return ServiceStore(self._database)

    # Studies

    def create_study(self, spec: StudySpec) -> bool:
        """Create a study, or continue the one that has this specification; say whether it is new.

        Raises:
            InputError: The name is taken by another specification; the message shows each path
                where they differ.
        """
        return self._database.write(studies.create, spec)

    def spec(self, study: str) -> StudySpec:
        """Return the specification of a study."""
        return self._database.read(studies.spec_of, study)

    def studies(self) -> list[StudySummary]:
        """Return all studies with their numbers of trials, oldest first."""
        return self._database.read(studies.summaries)

    def study(self, name: str) -> StudySummary:
        """Return what `studies` does of one of them."""
        return self._database.read(studies.summary, name)

    # The lease

    def acquire(self, study: str) -> Lease:
        """Become the coordinator of a study.

        A lease lapses when its holder has given no sign for as long as its terms say, by the clock
        of the database, wherever it runs; at once if it is seen on this host that it has ended.
        The holder may yet live: whatever it writes then is refused.

        Raises:
            RunError: Another process coordinates it; the message names it, for how long its lease
                is valid, and what to do.
            InputError: The terms in the environment are none.
        """
        return self._database.write(lease.acquire, study)

    def release(self, held: Lease) -> None:
        """Give a lease back; if another coordinator has taken over, nothing happens."""
        self._database.write(lease.release, held)

    @contextmanager
    def lease(self, study: str) -> Iterator[Lease]:
        """Be the coordinator of a study within a `with` block; see `acquire`."""
        held = self.acquire(study)
        try:
            yield held
        except BaseException:
            # The lease of a process that ends is free anyway; its error matters more.
            with suppress(SchedsearchError):
                self._database.write_now(lease.release, held)
            raise
        self.release(held)

    def free(self, study: str) -> Process | None:
        """Take a study from its coordinator before its lease lapses; return who that was.

        If it does live, its next write fails and nothing it wrote before is lost.
        """
        return self._database.write(lease.free, study)

    def beat(self, held: Lease, progress: Progress | None) -> Wish:
        """Show others that the coordinator is at work, and where it stands; waits for no server.

        Returns:
            What is wished of it.

        Raises:
            LeaseLostError: Somebody else coordinates the study by now.
        """
        return self._database.write_now(lease.beat, held, progress)

    def wish(self, study: str, wish: Wish) -> Process | None:
        """Ask the coordinator of a study for something; it looks at each of its heartbeats.

        Returns:
            Who that is; None, with nothing changed, if nobody searches.
        """
        return self._database.write(lease.wish, study, wish)

    # Trials

    def trials(self, study: str, after: int = -1) -> list[Trial]:
        """Return the trials of a study (waiting, running and finished) by number.

        Args:
            study: Its name.
            after: Only those with a greater number than this.
        """
        return self._read(study, trials.history, after)

    def effort(self, study: str) -> Effort:
        """Return what all attempts have cost that said how they ended, and what came before."""
        return self._read(study, trials.effort)

    def moment(self, study: str) -> tuple[list[Trial], Effort]:
        """Return `trials` and `effort` as they were at the same moment."""

        def read(connection: Connection, key: int) -> tuple[list[Trial], Effort]:
            return trials.history(connection, key), trials.effort(connection, key)

        return self._read(study, read)

    def page(
        self, study: str, wanted: Wanted = ALL, after: Place | None = None, limit: int = 100
    ) -> Page:
        """Return at most so many of the trials that are wanted, those after a place."""
        return self._read(study, pages.page, wanted, after, limit)

    def closed(self, study: str) -> int:
        """Return the number of the last trial up to which all are closed; -1 for none."""
        return self._read(study, pages.closed)

    def answers(
        self,
        study: str,
        ranker: Mapping[str, Any] | None,
        counts: Collection[tuple[int, ...]],
        after: str = "",
        limit: int = 1000,
        samples: Collection[str] | None = None,
    ) -> list[Answer]:
        """Return what is known of the samples of a schedule; see `pages.answers`."""
        return self._read(study, pages.answers, ranker, counts, after, limit, samples)

    def attempts(self, study: str, number: int) -> list[Attempt]:
        """Return the attempts at a trial in order, from 1."""
        return self._read(study, trials.attempts, number)

    def last_attempts(self, study: str) -> dict[int, Attempt]:
        """Return the last attempt at every trial that has one, by the number of the trial."""
        return self._read(study, trials.last_attempts)

    def enqueue(self, study: str, schedule: Schedule) -> Trial:
        """Ask for one more schedule, also while the study is being searched.

        A trial of the same schedule that has not failed is returned as it is, so a script may
        enqueue again whenever it runs again.
        """

        def find_or_add(connection: Connection) -> Trial:
            key = lease.lock(connection, study)
            found = trials.find(connection, key, schedule)
            return found or trials.add(connection, key, {}, schedule)

        return self._database.write(find_or_add)

    def open_trial(
        self,
        held: Lease,
        params: Mapping[str, ParamValue],
        schedule: Schedule,
        samples: int | None = None,
    ) -> Trial:
        """Add a waiting trial under the next number, before its work begins.

        Args:
            held: The lease.
            params: What the sampler chose.
            schedule: What it stands for.
            samples: How many samples are asked; None for all of them.

        Raises:
            RunError: The lease is lost.
            InputError: A parameter is no finite number and no text.
        """
        return self._coordinate(held, trials.add, held.study_id, params, schedule, samples)

    def start_attempt(self, held: Lease, number: int) -> int:
        """Set a waiting trial running and return the number of the attempt, which fences it.

        A trial that is still running (its coordinator was killed, say) gets a new attempt, and
        results of the old one no longer count.

        Raises:
            RunError: The lease is lost.
            InputError: The trial does not exist or is finished.
        """
        return self._coordinate(held, trials.start, held, number)

    def stop_attempt(
        self,
        held: Lease,
        number: int,
        attempt: int,
        reason: str,
        cost: Effort = _NO_EFFORT,
        workers: Iterable[Stint] = (),
    ) -> bool:
        """Let a trial wait again because its attempt was preempted, hung or interrupted.

        Args:
            held: The lease.
            number: Of the trial.
            attempt: The one that ends.
            reason: Why.
            cost: Of the attempt.
            workers: Who worked for it, each worker once.

        Returns:
            False, with nothing changed, if the attempt is not the running one.

        Raises:
            RunError: The lease is lost.
        """
        return self._coordinate(held, trials.stop, held, number, attempt, reason, cost, workers)

    def close_trial(
        self,
        held: Lease,
        trial: Trial,
        attempt: int,
        cost: Effort = _NO_EFFORT,
        workers: Iterable[Stint] = (),
    ) -> bool:
        """Store what became of a trial: state, and measurement or reason, at once.

        Args:
            held: The lease.
            trial: In one of the final states; identified by its number.
            attempt: The one that this is the result of.
            cost: Of the attempt.
            workers: Who worked for it, each worker once.

        Returns:
            False, with nothing changed, for a late or repeated result: the attempt is not the
            running one.

        Raises:
            RunError: The lease is lost, or the measurement has a number that is not finite.
        """
        return self._coordinate(held, trials.close, held, trial, attempt, cost, workers)

    # Evaluations

    def context_id(self, study: str, digest: str, description: Mapping[str, Any]) -> int:
        """Return the number of a context, and keep its evaluations as long as the study exists.

        Args:
            study: Evaluates in this context.
            digest: Of all that a score depends on besides the sample and its counts.
            description: The same in words, as JSON; kept for people.
        """
        return self._write(study, evaluations.context_id, digest, description)

    def contexts(self, study: str) -> list[Mapping[str, Any]]:
        """Return the contexts in which a study has evaluated, as described; the newest last."""
        return self._read(study, evaluations.contexts)

    def scores(
        self, context: int, keys: Iterable[EvaluationKey]
    ) -> dict[EvaluationKey, Evaluation]:
        """Return those evaluations that are known, whichever study they were made for.

        Args:
            context: From `context_id`.
            keys: Pairs of a sample's key and the counts that its layers keep, shape (layers,).
        """
        return self._database.read(evaluations.scores, context, keys)

    def add_scores(self, context: int, found: Mapping[EvaluationKey, Evaluation]) -> int:
        """Store evaluations and return how many are new; of two scores for a key the first stays.

        Raises:
            RunError: A score is not finite; nothing of the call is stored.
            LeaseLostError: The study has been deleted, and nobody else has its context.
        """
        return self._database.write(evaluations.add_scores, context, found)

    # Certificates

    def begin_certification(
        self, study: str, request: Request, images: Collection[str]
    ) -> tuple[int, Certification | None]:
        """Note that a study looks at samples, before one of them is scored.

        Args:
            study: Its name.
            request: What is to be proven.
            images: Short digests of what the samples show.

        Returns:
            Which attempt of the study it is, from 1; and what came of the same request before,
            None where that is yet to be found out.

        Raises:
            InputError: The study has looked at some of the samples for another request.
        """
        return self._write(study, certifications.begin, study, request, images)

    def end_certification(self, study: str, result: Certification) -> Certification:
        """Store what came of a request, and return it; of two results the first stays."""
        return self._write(study, certifications.end, result)

    def certifications(self, study: str) -> list[Certification]:
        """Return all that came of a study's requests, oldest first."""
        return self._read(study, certifications.ended)

    def certification_times(self, study: str) -> list[datetime]:
        """Return when each of `certifications` was begun."""
        return self._read(study, certifications.times)

    # Comparisons

    def put_comparison(self, study: str, found: Comparison) -> None:
        """Store what held-out samples said of a study's result, in place of what they said before.

        Args:
            study: Its name.
            found: What they said.
        """
        self._write(study, comparisons.put, found)

    def comparison(self, study: str) -> Comparison | None:
        """Return what held-out samples last said of a study's result; None if none were asked."""
        return self._read(study, comparisons.of_study)

    # Exhibits

    def add_exhibits(
        self,
        study: str,
        number: int,
        shots: Sequence[tuple[Exhibit, bytes]],
        again: bool = False,
    ) -> None:
        """Add exhibits of a trial with their pictures; a study keeps the latest of them.

        Args:
            study: Its name.
            number: Of the trial.
            shots: What is added.
            again: Whether they replace what there is of the same samples; else that stays.

        Raises:
            InputError: There is no such trial.
        """
        self._write(study, exhibits.add, number, shots, again)

    def exhibits(self, study: str, number: int) -> list[Exhibit]:
        """Return the exhibits of a trial: changed answers first, then in the order of their sets.

        Raises:
            InputError: There is no such trial.
        """
        return self._read(study, exhibits.of_trial, number)

    def exhibit_pictures(
        self, study: str, number: int, samples: Collection[str] | None = None
    ) -> dict[str, bytes]:
        """Return the pictures (WebP) of a trial's exhibits by sample; of some samples, or of all.

        Raises:
            InputError: There is no such trial.
        """
        return self._read(study, exhibits.pictures, number, samples)

    # Care

    def check(self) -> CheckReport:
        """Return defects of the store, what else is worth knowing, and its size in rows.

        Raises:
            InputError: The file is damaged such that it cannot be read through.
        """
        return self._database.read(check.check)

    def prune(self, names: Collection[str] = (), dry_run: bool = False) -> dict[str, int]:
        """Delete studies, then evaluations and whatever else no study uses.

        Args:
            names: Studies to delete.
            dry_run: Only find out what would be deleted.

        Returns:
            How many rows each table loses.

        Raises:
            RunError: One of the studies is being searched.
        """
        with self._database.writing() as connection:
            lost = admin.prune(connection, names)
            if dry_run:
                connection.rollback()
        if not dry_run:
            admin.compact(self._database)
        return lost

    def backup(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Copy the store, which may be in use, into a new file that is a store itself.

        Args:
            path: The file, which is complete or not there; a pipe, a device or `-` for standard
                output is written through.
            force: Replace a file that exists, though never this store.

        Raises:
            InputError: The file exists or cannot be created, or the store is not SQLite.
            RunError: It cannot be written; the store itself is unchanged.
        """
        backup.backup(self._database, Path(path), force)

    def copy_to(
        self,
        target: "Store",
        names: Collection[str] = (),
        tell: copying.Tell = copying.untold,
    ) -> list[Copied]:
        """Copy studies to another store, with all that has been found for them.

        Each appears there whole or not at all. What a copy that was interrupted has stored is used
        by the next one, and one that is there already stays as it is.

        Args:
            target: The other store, on whichever database.
            names: Of the studies; default: all.
            tell: Called with a study, and how many of its evaluations of how many are copied.

        Returns:
            What was copied of each.

        Raises:
            InputError: There is no such study, or the other store has another one of its name.
            RunError: One of the studies is being searched.
        """
        return copying.copy(self._database, target._database, names, tell)

    def check_present(self) -> None:
        """See that the store's file is where it was; a server's store is never looked for.

        Every method does so as it begins.

        Raises:
            StoreLostError: It was deleted, moved, emptied or replaced.
        """
        self._database.check_present()

    def rescue(self, lost: StoreLostError, held: Held) -> StoreLostError:
        """Save a store whose file is lost to another file; return an error that names it.

        Args:
            lost: How that was noticed.
            held: What a search holds in memory: saved, too, where the file's content does not
                have it or cannot be reached any more.
        """
        return rescue.rescue(self._database, lost, held, open_store)

    def stop_waiting(self) -> None:
        """Wait no more for a server that fails, until it answers again."""
        self._database.stop_waiting()

    def _read(self, study: str, work: Callable[[Connection, int, *Ts], T], *args: *Ts) -> T:
        return self._database.read(_of_study, study, work, *args)

    def _write(self, study: str, work: Callable[[Connection, int, *Ts], T], *args: *Ts) -> T:
        return self._database.write(_of_study, study, work, *args)

    def _coordinate(self, held: Lease, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        def checked(connection: Connection) -> T:
            lease.check(connection, held)
            return work(connection, *args)

        return self._database.write(checked)


def _of_study(
    connection: Connection,
    study: str,
    work: Callable[[Connection, int, *Ts], T],
    *args: *Ts,
) -> T:
    return work(connection, studies.study_id(connection, study), *args)
