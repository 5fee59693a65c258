"""The same study asks the same questions, however it is run; and asks none for nothing."""

from collections import Counter
from dataclasses import replace

import pytest

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial
from schedsearch.execution.loop import Limits
from tests.unit.execution.synthetic import (
    CONTENT,
    DIFFERENT,
    IDS,
    LAYERS,
    N_MAX,
    SEARCH,
    STUDY,
    SUBJECT,
    evaluations,
    new_place,
)

SEARCHES = {
    "one by one": SEARCH,
    "three at once": replace(SEARCH, concurrent_trials=3),
    "scan, two passes": replace(SEARCH, method="scan", concurrent_trials=2, max_passes=2),
    "confident": replace(SEARCH, acceptance="confident"),
}

each_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


@pytest.fixture
def place(tmp_path):
    return new_place(tmp_path)


@pytest.fixture
def other(tmp_path):
    return new_place(tmp_path / "other")


def questions(trials: list[Trial]) -> list[tuple]:
    return [(trial.number, trial.params, trial.schedule) for trial in trials]


@each_search
def test_history_is_the_same_when_every_trial_is_a_run_of_its_own(place, other, search):
    place.search(sampler=search)

    endings = Counter()
    while not endings["finished"]:
        endings[other.search(sampler=search, limits=Limits(trials=1)).ending] += 1

    assert other.trials() == place.trials()
    assert endings == {"trials": len(place.trials()) - 1, "finished": 1}
    assert [line[2:] for line in other.evaluated] == [line[2:] for line in place.evaluated]


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_size_of_the_tasks_changes_nothing_but_the_tasks(place, other, chunk):
    place.search()
    other.search(chunk=chunk)
    assert other.trials() == place.trials()
    assert [line[2:] for line in other.evaluated] == [line[2:] for line in place.evaluated]
    sizes = Counter((line.pid, line.task) for line in other.evaluated).values()
    assert max(sizes) == min(chunk, DIFFERENT)


def test_questions_of_a_round_are_opened_together_before_they_are_answered(place):
    opened = []
    place.search(
        sampler=SEARCHES["three at once"],
        on_moment=lambda moment: opened.append((moment.trial.number, len(place.trials()))),
    )
    rows = dict(reversed(opened))
    assert rows[0] == 1
    assert rows[1] == rows[2] == rows[3] == 4


def test_result_is_accepted_and_the_same_one_by_one_and_in_rounds(place, other):
    one = place.search().best
    three = other.search(sampler=SEARCHES["three at once"]).best
    assert one.measurement.drop <= SEARCH.tolerance
    assert one.schedule == three.schedule
    assert one.schedule.counts(N_MAX) == (6, 6, 6, 5, 3, 1)


def test_second_study_with_the_same_questions_evaluates_nothing(place):
    place.search()
    before = place.evaluated

    run = place.search(study="second")

    assert run.evaluated == 0
    assert place.evaluated == before
    assert place.trials("second") == place.trials()


def test_second_study_with_more_samples_evaluates_only_those(place):
    whole = SUBJECT
    half = replace(whole, ids=whole.ids[:4], keys=whole.keys[:4], tokens=whole.tokens[:4])
    place.search(subject=half)
    before = place.evaluated
    assert {line.content for line in before} == set(CONTENT[:4])

    run = place.search(study="second")

    pairs = Counter(line[2:] for line in place.evaluated)
    assert max(pairs.values()) == 1
    assert run.evaluated == len(place.evaluated) - len(before)


def test_another_context_evaluates_everything_again(place):
    place.search()
    other = replace(SUBJECT, context={"weights": "others"})
    run = place.search(study="second", subject=other)
    assert run.evaluated == evaluations(place.trials())


def test_another_ranker_evaluates_all_but_keep_all_again(place):
    place.search()
    search = replace(SEARCH, ranker=RankerSpec("random", (("seed", 1),)))
    run = place.search(study="second", sampler=search)
    assert run.evaluated == evaluations(place.trials("second")[1:])
    assert [trial.measurement for trial in place.trials("second")] == [
        trial.measurement for trial in place.trials()
    ]


def test_samples_of_equal_content_are_evaluated_once_and_counted_each(place):
    place.search()
    (keep_all, *_) = place.trials()
    lines = [line.content for line in place.evaluated if line.ranker == "none"]
    assert sorted(lines) == sorted(set(CONTENT))
    assert keep_all.measurement.n == len(IDS)


def test_enqueued_schedules_are_answered_first(place):
    schedules = [
        Schedule((1.0, 1.0, 1.0, 0.5, 0.5, 0.5)),
        Schedule((1.0, 0.61, 0.31, 0.31, 0.01, 0.01)),
    ]
    order = []

    def enqueue(store):
        for schedule in schedules:
            store.enqueue(STUDY, schedule)

    place.search(before=enqueue, on_trial=[lambda trial: order.append(trial)])

    trials = place.trials()
    assert [trial.schedule for trial in trials[:2]] == schedules
    assert order == trials
    assert all(trial.measurement.drop is not None for trial in trials)


def test_enqueued_schedule_answers_the_question_that_it_is(place, other):
    place.search()
    expected = place.trials()
    asked = expected[3].schedule

    other.search(before=lambda store: store.enqueue(STUDY, asked))

    trials = other.trials()
    assert (trials[0].schedule, trials[0].params) == (asked, {})
    assert len(trials) == len(expected)
    assert Counter(t.measurement for t in trials) == Counter(t.measurement for t in expected)
    assert len(other.evaluated) == len(place.evaluated)


def test_schedule_that_is_enqueued_after_the_end_is_answered_too(place):
    best = place.search().best
    schedule = Schedule((1.0,) * 3 + (0.0,) * (LAYERS - 3))

    run = place.search(before=lambda store: store.enqueue(STUDY, schedule))

    assert (run.ending, run.closed, run.evaluated) == ("finished", 1, DIFFERENT)
    assert run.best == best
    assert place.trials()[-1].schedule == schedule
