"""The order in which samples are read, and who is asked before all others."""

import math
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, TrialState, Work, least_drop
from schedsearch.execution.loop import Limits
from schedsearch.execution.reading import Reading
from schedsearch.execution.scoring import Scoring
from tests.unit.execution.synthetic import (
    CONTENT,
    IDS,
    SEARCH,
    STUDY,
    SUBJECT,
    counts_of,
    evaluate,
    local,
    new_place,
    spec,
    visions,
)

SHARE = 32  # of so many samples one is a probe
BOUNDED = replace(SUBJECT, greatest=1.05, full_pass=Work(flops=1000))
SCREENED = replace(SEARCH, method="gallop", screens=(4,))

few_scores = st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0]), min_size=1, max_size=3 * SHARE)


def named(values):
    return [SampleScore(f"s{n}", value) for n, value in enumerate(values)]


@given(few_scores)
def test_the_worst_under_keep_all_are_read_first_and_equals_in_calibration_order(values):
    full = named(values)
    expected = sorted(range(len(values)), key=lambda n: (values[n], n))
    assert Reading(full, 1.0).order == tuple(f"s{n}" for n in expected)
    assert Reading(full, math.inf).order == tuple(one.sample_id for one in full)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_once_the_misses_are_read_every_loss_is_certain(pairs):
    full, own = (named(map(float, values)) for values in zip(*pairs, strict=True))
    change = {a.sample_id: a.score - b.score for a, b in zip(full, own, strict=True)}
    by_id = {one.sample_id: one for one in own}
    order = Reading(full, 1.0).order
    misses = sum(one.score == 0 for one in full)
    for read in range(misses, len(own) + 1):
        certain = sum(change[name] for name in order[:read]) / len(own)
        assert least_drop(full, [by_id[name] for name in order[:read]], 1.0) == certain


@given(few_scores, st.data())
def test_probes_are_those_that_lost_under_the_mildest_schedules(values, data):
    full, n = named(values), len(values)
    score = st.sampled_from([0.0, 0.3, 0.6, 1.0])
    trials = data.draw(
        st.lists(
            st.tuples(
                st.lists(st.tuples(st.integers(0, n - 1), score), unique_by=lambda one: one[0]),
                st.sampled_from([0.2, 0.5, 0.9]),
                st.integers(0, 3),
            ),
            max_size=6,
        )
    )
    mildest, enough = {}, [one for *_, one in trials if one]
    for scores, ratio, _ in trials:
        for sample, value in scores:
            if value < values[sample]:
                mildest[sample] = max(ratio, mildest.get(sample, 0))
    losers = sorted(mildest, key=lambda one: (-mildest[one], values[one], one))
    expected = tuple(f"s{one}" for one in losers[: 2 * min(enough, default=0) or 1])

    def probes(learnt, greatest=1.0):
        found = Reading(full, greatest)
        for scores, ratio, enough in learnt:
            named_scores = [SampleScore(f"s{sample}", value) for sample, value in scores]
            found.learn(named_scores, ratio, enough)
        return found.probes

    assert probes(trials) == expected
    assert probes(data.draw(st.permutations(trials))) == expected
    assert probes([*trials, *trials]) == expected
    assert probes(trials, math.inf) == ()


def test_scores_come_back_in_calibration_order():
    full = named([1.0, 0.0, 1.0, 0.5])
    found = Reading(full, 1.0)
    own = [SampleScore(name, 0.25) for name in found.order[:3]]
    assert [one.sample_id for one in own] == ["s1", "s3", "s0"]
    assert found.calibration_order(own) == [own[2], own[0], own[1]]


def unequal(task, misses=(1, 6)):
    """Answers without noise: samples suffer unequally, and keep-all gets none of the misses."""
    found = []
    for name in task.sample_ids:
        content = CONTENT[IDS.index(name)]
        counts, need = counts_of(task, content), visions(content) * (8 - content) / 8
        lost = sum(max(0.0, need - layer - count) for layer, count in enumerate(counts[3:], 1))
        found.append(SampleScore(name, max(0.0, 0.9 * (content not in misses) - lost / 4)))
    return found


def searched(folder, sampler=SCREENED, subject=BOUNDED, inner=unequal, **options):
    place = new_place(folder)
    return place, place.search(sampler, inner, subject=subject, **options)


@pytest.mark.parametrize("sampler", [SEARCH, SCREENED])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("inner", [evaluate, unequal])
def test_probes_change_no_verdict(tmp_path, sampler, tolerance, inner):
    sampler = replace(sampler, tolerance=tolerance)
    plain, slow = searched(tmp_path / "plain", replace(sampler, screens=()), SUBJECT, inner)
    place, quick = searched(tmp_path / "probed", sampler, BOUNDED, inner)

    if inner is unequal or not sampler.screens:
        assert quick.best.schedule == slow.best.schedule
    drops = {trial.schedule.keep: trial.measurement.drop for trial in plain.trials()}
    for trial in place.trials():
        drop = drops.get(trial.schedule.keep)
        if drop is not None and trial.state is TrialState.PRUNED:
            assert drop > tolerance
        if drop is not None and trial.measurement and trial.samples is None:
            assert trial.measurement.drop == drop


def test_probes_alone_reject_where_nothing_can_be_gained(tmp_path):
    subject, tasks = replace(BOUNDED, greatest=0.9), []
    inner = recorded(partial(unequal, misses=()), tasks)
    place, _ = searched(tmp_path, replace(SCREENED, tolerance=0.0), subject, inner)
    by_probes = [t for t in place.trials() if t.state is TrialState.PRUNED and not t.read]
    assert by_probes
    for trial in by_probes:
        read = int(trial.reason.split()[2])
        assert trial.reason.startswith(f"rejected by {read} of 10 samples: drop at least ")
        assert read <= 3
        asked = [ids for keep, ids, _ in tasks if keep == trial.schedule.keep]
        assert sum(map(len, asked)) <= read


def recorded(inner, tasks, left=math.inf):
    """Answers, and writes down the tasks; interrupts once so many more are answered."""
    end = len(tasks) + left

    def answer(task):
        if len(tasks) == end:
            raise KeyboardInterrupt
        tasks.append((task.schedule.keep, task.sample_ids, task.shared))
        return inner(task)

    return answer


@pytest.mark.parametrize(("limits", "left"), [(Limits(trials=1), math.inf), (Limits(), 1)])
def test_search_that_ends_ever_again_asks_the_same_trials_probes_and_tasks(tmp_path, limits, left):
    asked: list[tuple] = []
    whole, _ = searched(tmp_path / "whole", inner=recorded(unequal, asked))

    tasks: list[tuple] = []
    place, run = searched(tmp_path / "parts", inner=recorded(unequal, tasks, left), limits=limits)
    runs = 1
    while run.ending != "finished":
        inner = recorded(unequal, tasks, left)
        run = place.search(SCREENED, inner, subject=BOUNDED, limits=limits)
        runs += 1

    assert place.trials() == whole.trials()
    assert any(trial.read for trial in whole.trials())
    assert tasks == asked
    assert runs >= (len(asked) if left == 1 else len(whole.trials()))


@pytest.mark.parametrize("probes", [("q4",), ("q4", "q1"), ("q6", "q5"), ("q2", "q7")])
def test_tasks_keep_their_samples_although_some_are_known_as_probes(tmp_path, probes):
    tasks: list[tuple] = []
    with new_place(tmp_path).store() as store:
        store.create_study(spec())
        executor = local(recorded(unequal, tasks))
        scoring = Scoring(STUDY, SUBJECT, store, executor, chunk=4, cuts=(3,))
        low = Schedule((1.0,) * 3 + (0.0,) * 3)
        other = Schedule((1.0,) * 3 + (0.5,) * 3)
        scoring.scores(low)
        plain = [ids for _, ids, _ in tasks]
        del tasks[:]
        scoring.scores(other, ids=probes)
        scoring.scores(other, again=probes)
        different = tuple(name for name in probes if name != "q7")  # which equals q2
        assert [ids for _, ids, _ in tasks] == [different, *plain]
        scoring.scores(other, again=probes)
        assert len(tasks) == 1 + len(plain)


def test_samples_that_can_gain_are_probed_too_if_they_are_few():
    full = named([0.0, *[1.0] * 30, 0.5])
    lost = [SampleScore(f"s{n}", 0.0) for n in (3, 4, 5)]
    reading = Reading(full, 1.0)
    assert reading.probes == ()
    reading.learn(lost, 0.5)
    assert reading.probes == ("s0", "s31", "s3")
    reading.learn(lost, 0.5, enough=1)
    assert reading.probes == ("s0", "s31", "s3", "s4")
    many = Reading(named([0.0, *[1.0] * 29, 0.5, 0.5]), 1.0)
    many.learn(lost, 0.5)
    assert many.probes == ("s3",)


def test_screen_is_counted_behind_the_samples_that_can_gain():
    reading = Reading(named([1.0, 0.0, 1.0, 0.5, 1.0, 1.0]), 1.0)
    assert reading.first(2) == ("s1", "s3", "s0", "s2")
    assert reading.first(9) == reading.first(None) == reading.order


def test_task_ends_behind_the_samples_that_can_gain_and_cuts_are_counted_from_there(tmp_path):
    tasks: list[tuple] = []
    with new_place(tmp_path).store() as store:
        store.create_study(spec())
        executor = local(recorded(unequal, tasks))
        scoring = Scoring(STUDY, SUBJECT, store, executor, chunk=4, cuts=(3,))
        scoring.scores(Schedule((1.0,) * 3 + (0.0,) * 3), behind=2)
    ends = [ids[-1] for _, ids, _ in tasks]
    assert ends == ["q1", "q4", "q8"]  # q9 equals q4


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30), st.data())
def test_expected_drop_takes_those_read_for_all_others_that_cannot_gain(answers, data):
    full = [SampleScore(str(i), float(right)) for i, (right, _) in enumerate(answers)]
    under = {str(i): SampleScore(str(i), float(right)) for i, (_, right) in enumerate(answers)}
    reading = Reading(full, 1.0)
    gainful = reading.gainful
    read = data.draw(st.integers(min(gainful + 1, len(full)), len(full)))
    found = reading.expected_drop([under[name] for name in reading.order[:read]])
    drops = [a.score - under[a.sample_id].score for a in sorted(full, key=lambda one: one.score)]
    rest = drops[gainful:read]
    mean = sum(rest) / len(rest) if rest else 0.0
    expected = (sum(drops[:gainful]) + (len(full) - gainful) * mean) / len(full)
    assert found == pytest.approx(expected)
    whole = reading.expected_drop([under[name] for name in reading.order])
    assert whole == pytest.approx(sum(drops) / len(full))
