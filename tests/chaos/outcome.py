"""What became of a search that a fault happened to, against one that nothing happened to."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial
from schedsearch.store import Store
from schedsearch.store.tables import ContextRow, CountsRow, EvaluationRow, SampleRow
from schedsearch.store.trials import Attempt
from tests.chaos.coordinator import sampler
from tests.chaos.points import commits
from tests.chaos.scene import Scene
from tests.chaos.witness import Key, evaluated, in_flight, recomputed, stored
from tests.unit.execution.synthetic import STUDY


@dataclass(frozen=True)
class Undisturbed:
    """A search that nothing happens to.

    Attributes:
        trials: All of it.
        naive: What its trials would have cost without any saving.
        commits: How many its coordinator made.
        sent: How many a server saw; 0 for a file.
        tasks: How many were evaluated.
    """

    trials: list[Trial]
    naive: float
    commits: int
    sent: int
    tasks: int


def undisturbed(scene: Scene) -> Undisturbed:
    """Search in this process, and count."""
    made = 0

    def count(_when: str, number: int, beats: bool) -> None:
        nonlocal made
        assert not beats, "a search of less than a heartbeat was expected"
        made = number

    with commits(count):
        assert scene.search.search().ending == "finished"
    events = scene.witness.events
    tasks = sum(one.what == "evaluated" for one in events)
    sent = scene.proxy.commits if scene.proxy else 0
    with scene.store() as store:
        trials, naive = store.trials(STUDY), store.effort(STUDY).naive
    assert not recomputed(events), "a search repeats itself"
    return Undisturbed(trials, naive, made, sent, tasks)


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    Attributes:
        lost: Scores and finished trials that the store had acknowledged and did not have any more
            when the search was run again, or at the end.
        twice: Trials that ended more than once, and scores that nobody evaluated.
        recomputed: Evaluations begun for which another had been.
        in_flight: Those that had been begun at the fault, and not been acknowledged.
        same_schedule: Whether the result is the one of an undisturbed search.
        broken: All that is not as it should be, one sentence each.
    """

    lost: int
    twice: int
    recomputed: int
    in_flight: int
    same_schedule: bool
    broken: tuple[str, ...]


def outcome(scene: Scene, known: Undisturbed, lost: int) -> Outcome:
    """Judge a search that has ended.

    Args:
        scene: Where it was.
        known: The same without a fault.
        lost: What was missing when it was run again.
    """
    events = scene.witness.events
    again, flying = recomputed(events), in_flight(events)
    with scene.store() as store:
        lost = max(lost, missing(scene, store))
        trials = store.trials(STUDY)
        same = final(trials) == final(known.trials)
        tries = [store.attempts(STUDY, trial.number) for trial in trials]
        rows = stored_rows(store)
        twice = sum(map(_repeats, trials, tries)) + len(rows.keys() - evaluated(events))
        closed = Counter(one.told[0] for one in events if one.what == "closed")
        twice += sum(n - 1 for n in closed.values())
        broken = [
            *([f"{lost} acknowledged results were lost"] if lost else []),
            *([f"{twice} results were counted twice"] if twice else []),
            *(f"{key} was recomputed, which was not in flight" for key in again - flying),
            *([] if trials == known.trials else ["the trials are not those of an undisturbed run"]),
            *_untidy(store, trials, tries, known),
        ]
    return Outcome(lost, twice, again.total(), flying.total(), same, tuple(broken))


def missing(scene: Scene, store: Store) -> int:
    """How many results the store has acknowledged and does not have."""
    events = scene.witness.events
    rows, acknowledged = stored_rows(store), stored(events)
    closed = dict(one.told for one in events if one.what == "closed")
    states = {trial.number: trial.state for trial in store.trials(STUDY)} if closed else {}
    return sum(rows.get(key) != score for key, score in acknowledged.items()) + sum(
        states.get(number) != state for number, state in closed.items()
    )


def stored_rows(store: Store) -> dict[Key, float]:
    """All scores of a store."""
    columns = (ContextRow.digest, SampleRow.key, CountsRow.kept, EvaluationRow.score)
    query = (
        select(*columns)
        .select_from(EvaluationRow)
        .join(ContextRow, ContextRow.id == EvaluationRow.context_id)
        .join(SampleRow, SampleRow.id == EvaluationRow.sample_id)
        .join(CountsRow, CountsRow.id == EvaluationRow.counts_id)
    )
    with store._database.reading() as connection:
        return {Key(*key): score for *key, score in connection.execute(query)}


def final(trials: list[Trial]) -> Schedule | None:
    best = sampler().best(trials)
    return best and best.schedule


def _repeats(trial: Trial, tries: list[Attempt]) -> int:
    """How many attempts besides one ended with the trial's result."""
    results = [one for one in tries if one.ended and one.reason == trial.reason]
    return max(0, len(results) - 1)


def _untidy(
    store: Store, trials: list[Trial], tries: list[list[Attempt]], known: Undisturbed
) -> Iterator[str]:
    report = store.check()
    yield from (*report.problems, *report.notes)
    naive = store.effort(STUDY).naive
    if not math.isclose(naive, known.naive):
        yield f"the trials' cost was {known.naive:g}, but {naive:g} is counted"
    if store.study(STUDY).holder:
        yield "the lease is held although the search has ended"
    for trial, attempts in zip(trials, tries, strict=True):
        ended = [one.ended is not None for one in attempts]
        numbers = [one.number for one in attempts]
        if not ended or not all(ended) or numbers != list(range(1, len(numbers) + 1)):
            yield f"the attempts at trial {trial.number} are {attempts}"
        elif attempts[-1].reason != trial.reason:
            yield f"the last attempt at trial {trial.number} did not end it: {attempts[-1]}"
