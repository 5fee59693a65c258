"""Trials that are stopped early, trials on part of the samples, and what it all costs."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import (
    Effort,
    Measurement,
    SampleScore,
    TrialState,
    Work,
    least_drop,
)
from schedsearch.execution.inquiry import EvaluationError
from schedsearch.execution.scoring import Scoring
from tests.unit.execution.synthetic import (
    CONTENT,
    IDS,
    LAYERS,
    N_MAX,
    SEARCH,
    STUDY,
    SUBJECT,
    Shuffled,
    evaluate,
    local,
    new_place,
    score,
    spec,
    visions,
)

GREATEST = 1.05
BOUNDED = replace(SUBJECT, greatest=GREATEST, full_pass=Work(flops=1000))
LOW = Schedule((1.0,) * 3 + (0.0,) * 3)

scores = st.floats(-1e6, 1.0, allow_subnormal=False)


def named(values):
    return [SampleScore(f"s{n}", value) for n, value in enumerate(values)]


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=30), st.data())
def test_the_least_drop_is_never_above_the_drop_in_the_end(pairs, data):
    full, own = (named(values) for values in zip(*pairs, strict=True))
    seen = data.draw(st.integers(0, len(pairs)))
    drop = math.fsum(a.score - b.score for a, b in zip(full, own, strict=True)) / len(full)
    some = data.draw(st.permutations(own))[:seen]
    assert least_drop(full, some, 1.0) <= drop
    assert least_drop(full, own, 1.0) == drop


shares = st.floats(0, 1, allow_subnormal=False)


@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=30), st.floats(0, 3), st.data())
def test_nor_where_chance_is_taken_off(pairs, noise, data):
    full, own = (named(values) for values in zip(*pairs, strict=True))
    seen = data.draw(st.integers(0, len(pairs)))
    measured = Measurement.of(own, 1.0, 1.0, full)
    some = data.draw(st.permutations(own))[:seen]
    in_the_end = measured.drop - noise * measured.chance
    # Chance is the root of what is left of sums that may cancel: rounded to 1e-6, then to its root.
    assert least_drop(full, some, 1.0, noise) <= in_the_end + noise * 1e-3


def test_the_least_drop_is_reached_when_all_others_get_the_greatest_score():
    full, own = named([0.5, 1.0, 0.0, 1.0]), named([0.5, 0.0])
    assert least_drop(full, own, 1.0) == (0 + 1 - 1 + 0) / 4
    assert least_drop(full, own, math.inf) == -math.inf


def searched(folder, sampler=SEARCH, **options):
    place = new_place(folder)
    run = place.search(sampler, subject=BOUNDED, **options)
    return place, run


def test_stopping_early_saves_evaluations_and_changes_no_answer(tmp_path):
    plain = new_place(tmp_path / "plain")
    slow = plain.search()
    place, quick = searched(tmp_path / "bounded")
    assert quick.best.schedule == slow.best.schedule
    assert len(place.evaluated) < len(plain.evaluated)
    asked = {trial.schedule.keep: trial for trial in plain.trials()}
    pruned = [trial for trial in place.trials() if trial.state is TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert asked[trial.schedule.keep].measurement.drop > SEARCH.tolerance
        assert "rejected by" in trial.reason and "of 10 samples" in trial.reason


@pytest.mark.parametrize("seed", range(4))
def test_where_a_trial_stops_does_not_depend_on_the_order_of_arrival(tmp_path, seed):
    place, _ = searched(tmp_path / "local")
    other = new_place(tmp_path / "shuffled")
    with other.store() as store:
        store.create_study(spec())
        scoring = Scoring(STUDY, BOUNDED, store, Shuffled(evaluate, seed=seed), 2)
        found = scoring.scores(LOW, stop=lambda known: len(known) >= 4)
        assert [one.sample_id for one in found] == list(IDS[:4])
        # What arrived beyond is a fact, and is kept.
        again = scoring.evaluated
        assert [one.score for one in scoring.scores(LOW)] == [
            score(content, LOW.counts(visions(content))) for content in CONTENT
        ]
        assert scoring.evaluated - again <= len(set(CONTENT)) - 4 + 1


def test_known_scores_do_not_change_where_a_trial_stops(tmp_path):
    place = new_place(tmp_path)
    with place.store() as store:
        store.create_study(spec())
        scoring = Scoring(STUDY, BOUNDED, store, local(evaluate), 2)
        assert len(scoring.scores(LOW)) == len(IDS)
        before = scoring.evaluated
        seen = []

        def stop(known):
            seen.append(len(known))
            return len(known) == 6

        assert len(scoring.scores(LOW, stop=stop)) == 6
        assert seen == [2, 4, 6] and scoring.evaluated == before


def test_only_the_first_samples_are_asked_and_tasks_end_at_every_cut(tmp_path):
    place, tasks = new_place(tmp_path), []

    def recorded(task):
        tasks.append(task)
        return evaluate(task)

    with place.store() as store:
        store.create_study(spec())
        scoring = Scoring(STUDY, SUBJECT, store, local(recorded), 4, cuts=(3, 8))
        assert [one.sample_id for one in scoring.scores(LOW, ids=IDS[:3], shared=2)] == list(
            IDS[:3]
        )
        assert [task.shared for task in tasks] == [2]
        scoring.scores(LOW)
        asked = [task.sample_ids for task in tasks]
        assert asked[0] == IDS[:3]
        ends = {3, 7, 10}
        assert all(
            IDS.index(ids[-1]) + 1 <= end for ids, end in zip(asked, sorted(ends), strict=True)
        )


def test_a_score_above_the_metrics_bound_is_refused(tmp_path):
    place = new_place(tmp_path)
    with place.store() as store:
        store.create_study(spec())
        subject = replace(SUBJECT, greatest=0.9)
        scoring = Scoring(STUDY, subject, store, local(evaluate), 4)
        with pytest.raises(EvaluationError, match=r"no score of this metric may be above 0\.9"):
            scoring.scores(Schedule.full(LAYERS))


def test_a_trial_on_part_of_the_samples_is_never_the_result(tmp_path):
    sampler = replace(SEARCH, screens=(2, 5))
    place, run = searched(tmp_path, sampler)
    trials = place.trials()
    assert any(trial.samples == 2 for trial in trials)
    assert run.best.samples is None and run.best.measurement.n == len(IDS)
    plain = new_place(tmp_path / "plain")
    assert plain.search().best.schedule == run.best.schedule
    assert any(trial.state is TrialState.SCREENED for trial in trials)
    for trial in trials:
        if trial.state is TrialState.SCREENED:
            assert trial.measurement is None
            number = int(trial.reason.removeprefix("not rejected by ").split()[0])
            assert trial.reason.endswith(f" of {len(IDS)} samples")
            assert trial.read <= number <= len(IDS)  # probes beside what a screen reads
        if trial.measurement:
            assert (trial.samples, trial.measurement.n) == (None, len(IDS))


def test_effort_is_kept_and_adds_up_over_runs(tmp_path):
    place = new_place(tmp_path)
    rng, spent = random.Random(0), [Work()]

    def work():
        return spent[0]

    def costly(task):
        spent[0] += Work(flops=rng.randrange(1, 100), layer_forwards=1)
        return evaluate(task)

    with place.store() as store:
        store.create_study(spec())
        from schedsearch.execution.loop import Limits, run_study

        for limit in (3, None):
            scoring = Scoring(STUDY, BOUNDED, store, local(costly, work), 4)
            run = run_study(STUDY, SEARCH, scoring, store, limits=Limits(trials=limit))
        assert run.effort.spent == pytest.approx(spent[0].flops / 1000)
        costs = {
            trial.schedule.counts(N_MAX): BOUNDED.costs(trial.schedule)[0]
            for trial in store.trials(STUDY)
        }
        assert run.effort.naive == pytest.approx(sum(costs.values()))
        assert store.effort(STUDY) == run.effort
        assert isinstance(run.effort, Effort)


def test_of_two_scores_of_a_sample_the_first_counts_as_in_the_store(tmp_path):
    def rounded(task):
        return [
            replace(one, score=one.score + 1e-9 * len(task.sample_ids)) for one in evaluate(task)
        ]

    place = new_place(tmp_path)
    with place.store() as store:
        store.create_study(spec())
        scoring = Scoring(STUDY, SUBJECT, store, local(rounded), 5)
        probed = scoring.scores(LOW, ids=("q1",))
        first = scoring.scores(LOW, again=("q1",))
        assert first[1] == probed[0]
        again = Scoring(STUDY, SUBJECT, store, local(rounded), 5)
        assert again.scores(LOW) == first


def test_screen_of_all_samples_or_more_is_refused():
    from schedsearch.app.samplers import resolve
    from schedsearch.errors import InputError
    from schedsearch.samplers.settings import GSearchSettings

    def screens(chosen: list[int] | None) -> list[int] | None:
        return resolve(GSearchSettings(tolerance=0, screens=chosen), BOUNDED, STUDY, None).screens

    with pytest.raises(InputError, match="fewer than the 10 calibration samples, but got 10"):
        screens([10])
    assert screens([9]) == [9]
    assert screens(None) == []
