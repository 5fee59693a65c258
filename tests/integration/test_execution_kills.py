"""Coordinators that are killed: nothing but the task in flight is lost."""

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from schedsearch.core.budget import Budget
from schedsearch.core.families.sigmoid import Sigmoid
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.bayes import Bayes
from schedsearch.samplers.random_search import RandomSearch
from tests.pace import some
from tests.unit.execution.children import (
    at_commits,
    child,
    die_at_commit,
    exit_code,
    search_and_stay,
    unhurried,
    wait_for,
)
from tests.unit.execution.synthetic import (
    CHUNK,
    SEARCH,
    STUDY,
    SUBJECT,
    Line,
    Place,
    Shuffled,
    new_place,
)

KILLED = -signal.SIGKILL
SHORT = replace(SEARCH, first=4)
OPTIONS = {"sampler": SHORT}
IN_ROUNDS = replace(SEARCH, concurrent_trials=3)
RANDOM = RandomSearch(
    family=Sigmoid(),
    budget=Budget("feasible", 0.5),
    shape=SUBJECT.shape,
    tokens=SUBJECT.tokens,
    trials=8,
    concurrent_trials=3,
)


@dataclass(frozen=True)
class Uninterrupted:
    """What a search is when nothing happens to it."""

    trials: list[Trial]
    evaluated: list[Line]
    commits: int


def uninterrupted(folder: Path, **options: object) -> Uninterrupted:
    place, numbers = new_place(folder), []
    with at_commits(lambda _when, number: numbers.append(number)):
        assert place.search(**options).ending == "finished"
    trials = place.trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state.finished for trial in trials)
    return Uninterrupted(trials, place.evaluated, max(numbers))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp("short"), sampler=SHORT)


@pytest.fixture(scope="module")
def in_rounds(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp("in-rounds"), sampler=IN_ROUNDS)


def evaluations(lines: list[Line]) -> Counter:
    return Counter(line[2:] for line in lines)


def in_flight(killed: list[Line]) -> set:
    """What the last task of a process evaluated."""
    last = max((line.task for line in killed), default=0)
    return set(evaluations([line for line in killed if line.task == last]))


def assert_same_end(place: Place, expected: Uninterrupted) -> None:
    assert set(evaluations(place.evaluated)) == set(evaluations(expected.evaluated))
    with place.store() as store:
        assert store.trials(STUDY) == expected.trials
        report = store.check()
        assert (report.problems, report.notes) == ((), ())
        assert store.studies()[0].holder is None


@pytest.mark.full
@pytest.mark.parametrize("when", ["before", "after"])
def test_search_killed_at_any_commit_ends_as_if_it_had_not_been(when, short, tmp_path):
    tasks_lost = 0
    for number in range(1, short.commits + 1):
        place = new_place(tmp_path / f"{number}")

        assert exit_code(die_at_commit, place, when, number, OPTIONS) == KILLED
        killed = place.evaluated
        place.search(**OPTIONS)

        assert_same_end(place, short)
        repeated = evaluations(place.evaluated) - evaluations(short.evaluated)
        assert repeated in (Counter(), Counter(in_flight(killed)))
        tasks_lost += bool(repeated)
    # Each task once: when the commit of its scores is the one that does not happen.
    tasks = {(line.pid, line.task) for line in short.evaluated}
    assert tasks_lost == (len(tasks) if when == "before" else 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_the_store_is_made_leaves_nothing_in_the_way(when, short, tmp_path):
    place = Place(tmp_path)

    assert exit_code(die_at_commit, place, when, 1, OPTIONS) == KILLED
    place.search(**OPTIONS)

    assert_same_end(place, short)


@pytest.mark.parametrize("seed", some(range(3), [0]))
def test_search_killed_again_and_again_ends_as_if_it_had_not_been(seed, in_rounds, tmp_path):
    rng, place, ends, options = random.Random(seed), new_place(tmp_path), [], {"sampler": IN_ROUNDS}

    while 0 not in ends:
        when, number = rng.choice(["before", "after"]), rng.randint(1, 25)
        ends.append(exit_code(die_at_commit, place, when, number, options))
        assert ends[-1] in (0, KILLED)

    assert len(ends) > 2
    assert_same_end(place, in_rounds)
    again = len(place.evaluated) - len(in_rounds.evaluated)
    assert again <= CHUNK * ends.count(KILLED)


@pytest.mark.parametrize("seed", some(range(10), range(2)))
def test_search_killed_at_a_random_moment_ends_as_if_it_had_not_been(
    seed, short, tmp_path, duration
):
    place = new_place(tmp_path)
    with child(search_and_stay, place, OPTIONS | {"inner": unhurried}) as process:
        wait_for(place.folder / "begun")
        time.sleep(random.Random(seed).uniform(0, duration))
        process.kill()
        process.join()
        assert process.exitcode == KILLED
    killed = place.evaluated

    place.search(**OPTIONS)

    assert_same_end(place, short)
    repeated = evaluations(place.evaluated) - evaluations(short.evaluated)
    assert set(repeated) <= in_flight(killed)
    assert all(times == 1 for times in repeated.values())


@pytest.fixture(scope="module")
def duration(tmp_path_factory):
    """Seconds that a search takes in about the conditions of its victims."""
    return Place(tmp_path_factory.mktemp("duration")).search(sampler=SHORT, inner=unhurried).seconds


@pytest.mark.parametrize("sampler", [IN_ROUNDS, RANDOM], ids=["g-search", "random"])
@pytest.mark.parametrize("seed", some(range(12), range(2)))
def test_search_killed_with_several_trials_at_work_ends_as_if_it_had_not_been(
    seed, sampler, tmp_path
):
    options = {"sampler": sampler, "executor": partial(Shuffled, slots=4, seed=seed)}
    expected = uninterrupted(tmp_path / "whole", **options)
    rng, place = random.Random(seed), new_place(tmp_path / "killed")
    when, number = rng.choice(["before", "after"]), rng.randint(5, expected.commits - 1)

    assert exit_code(die_at_commit, place, when, number, options) == KILLED
    before = {line[2:] for line in place.evaluated}
    with place.store() as store:
        stored = store.check().rows["evaluation"]
    place.search(**options)

    assert_same_end(place, expected)
    assert len(before) - CHUNK <= stored <= len(before)  # the task in flight alone is lost


def test_several_trials_are_at_work_when_it_is_killed(tmp_path):
    place, options = new_place(tmp_path), {"sampler": RANDOM}
    options["executor"] = partial(Shuffled, slots=4)
    assert exit_code(die_at_commit, place, "after", 12, options) == KILLED
    assert sum(trial.state is TrialState.RUNNING for trial in place.trials()) > 1


def test_trial_that_was_running_gets_another_attempt(tmp_path):
    place = new_place(tmp_path)
    assert exit_code(die_at_commit, place, "before", 8, OPTIONS) == KILLED
    assert [trial.state.finished for trial in place.trials()] == [False]

    place.search(**OPTIONS)

    with place.store() as store:
        reasons = [attempt.reason for attempt in store.attempts(STUDY, 0)]
    assert reasons == ["superseded by attempt 2", ""]


@pytest.mark.full
def test_bayesian_search_killed_twice_asks_the_same_questions(tmp_path):
    sampler = Bayes(
        family=Sigmoid(first=1),
        budget=Budget("flops", 0.7),
        shape=SUBJECT.shape,
        tokens=SUBJECT.tokens,
        trials=10,
        seed=3,
    )
    options = {"sampler": sampler}
    expected = uninterrupted(tmp_path / "whole", **options)
    assert len(expected.trials) == 10
    place = new_place(tmp_path / "killed")
    for number in (expected.commits // 3, expected.commits // 2):
        assert exit_code(die_at_commit, place, "after", number, options) == KILLED
    assert 0 < sum(trial.state.finished for trial in place.trials()) < 10

    place.search(**options)

    assert_same_end(place, expected)
