"""What G-Search reads out of a history: answers it did not ask for, failures, standing."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError, RunError
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.sampler import Status
from tests.unit.samplers.synthetic import (
    all_or_nothing,
    arbitrary,
    complete,
    enqueued,
    failed,
    per_sample,
    running,
    search,
)

NEED = (8, 8, 6, 3, 3, 1)
DIFFERENCES = per_sample([NEED, NEED])
SEARCH = GSearch(layers=6, n_max=8, method="bisection")
FOUND = Schedule.from_counts(NEED, 8)
KEPT, LOST = [0.0, 0.0], [1.0, 1.0]


def asked(sampler: GSearch, history: list[Trial]) -> list[tuple[int, ...]]:
    return [question.schedule.counts(sampler.n_max) for question in sampler.ask(history)]


def after_keep_all(sampler: GSearch) -> list[Trial]:
    return [complete(0, *sampler.ask([]), KEPT)]


def test_rounds_wait_for_keep_all_alone():
    four = GSearch(layers=6, n_max=8, method="bisection", concurrent_trials=4)
    (keep_all,) = four.ask([])
    assert keep_all.schedule == Schedule.full(6)
    assert four.ask([running(0, keep_all)]) == []
    assert asked(four, [complete(0, keep_all, KEPT)]) == [(8, 8, c, c, c, c) for c in (0, 2, 4, 6)]


def test_parameters_say_pass_layer_and_count():
    history, _ = search(dataclasses.replace(SEARCH, max_passes=2), 8, DIFFERENCES)
    for trial in history:
        number, layer, count = (trial.params[name] for name in ("pass", "layer", "count"))
        held = (
            trial.schedule.counts(8)[layer:] if number < 2 else trial.schedule.counts(8)[layer:][:1]
        )
        assert set(held) == {count}
    assert [trial.params["pass"] for trial in history] == sorted(
        trial.params["pass"] for trial in history
    )


def test_scan_asks_upwards_from_the_floor():
    scan = GSearch(layers=4, n_max=8, method="scan", concurrent_trials=2, floor=1)
    history, _ = search(scan, 8, per_sample([(8, 8, 4, 2)] * 2))
    assert [trial.params["count"] for trial in history] == [8, 1, 2, 3, 4, 1, 2]


def test_round_ends_only_when_all_its_questions_are_answered():
    three = GSearch(layers=6, n_max=8, method="bisection", concurrent_trials=3)
    history = after_keep_all(three)
    low, middle, high = three.ask(history)
    for done in ([], [(middle, LOST)], [(middle, LOST), (high, KEPT)]):
        trials = history + [complete(9 - i, *pair) for i, pair in enumerate(done)]
        left = [q for q in (low, middle, high) if q not in [question for question, _ in done]]
        assert three.ask(trials) == left
        assert three.ask(trials + [running(7, question) for question in left]) == []


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(["bisection", "scan"]))
def test_schedules_tried_besides_change_nothing_but_save_questions(seed, questions, method):
    # Whatever a person enqueued, the search ends where it ends without it.
    rng = random.Random(seed)
    sampler = GSearch(layers=5, n_max=6, concurrent_trials=questions, method=method)
    differences = all_or_nothing(arbitrary(seed, 0.5, 6))
    plain, _ = search(sampler, 6, differences)
    besides = {(6, 6, *sorted(rng.choices(range(7), k=3), reverse=True)) for _ in range(12)} | {
        trial.schedule.counts(6) for trial in rng.sample(plain, len(plain) // 2)
    }
    history = [
        enqueued(number, Schedule.from_counts(counts, 6), differences(counts))
        for number, counts in enumerate(sorted(besides))
    ]

    full, _ = search(sampler, 6, differences, history)

    assert sampler.best(full).schedule == sampler.best(plain).schedule
    new = [trial.schedule.counts(6) for trial in full[len(history) :]]
    assert sorted(new) == sorted({t.schedule.counts(6) for t in plain} - besides)


def test_trials_of_another_ranker_or_depth_answer_nothing():
    strangers = [
        enqueued(0, Schedule.full(6, RankerSpec("random")), KEPT),
        enqueued(1, Schedule.full(7), KEPT),
    ]
    assert SEARCH.ask(strangers) == SEARCH.ask([])


def test_ratio_beside_the_grid_answers_only_where_it_keeps_the_same_counts():
    # Of 8 tokens 0.3 keeps 3, as 3/8 does, and of 7 as well; but of 6 tokens it keeps 2, not 3.
    beside = enqueued(1, Schedule((1.0, 1.0, 0.3, 0.3, 0.3, 0.3)), KEPT)
    history = after_keep_all(SEARCH)
    assert asked(SEARCH, history) == [(8, 8, 3, 3, 3, 3)]
    for n_visions, answers in (((), True), ((7, 8), True), ((6, 7, 8), False)):
        sampler = dataclasses.replace(SEARCH, n_visions=n_visions)
        assert (asked(sampler, [*history, beside]) != asked(sampler, history)) is answers


def test_failed_trial_counts_as_rejected_where_the_search_goes_on():
    go_on = dataclasses.replace(SEARCH, on_failure="continue")
    history = after_keep_all(go_on)
    (question,) = go_on.ask(history)
    assert asked(go_on, [*history, failed(1, question)]) == asked(
        go_on, [*history, complete(1, question, LOST)]
    )


def test_failed_trial_is_asked_again_where_the_search_stops():
    history = after_keep_all(SEARCH)
    (question,) = SEARCH.ask(history)
    history.append(failed(1, question))
    assert SEARCH.ask(history) == [question]
    assert SEARCH.ask([*history, running(2, question)]) == []
    done, _ = search(SEARCH, 8, DIFFERENCES, history)
    assert SEARCH.best(done).schedule == FOUND


@pytest.mark.parametrize("on_failure", ["stop", "continue"])
def test_retry_outweighs_the_failure_before_it(on_failure):
    sampler = dataclasses.replace(SEARCH, on_failure=on_failure)
    history = after_keep_all(sampler)
    (question,) = sampler.ask(history)
    retried = [*history, failed(1, question), complete(2, question, KEPT)]
    assert asked(sampler, retried) == asked(sampler, [*history, complete(1, question, KEPT)])
    assert sampler.ask([*history, failed(1, question), running(2, question)]) == []


def test_first_of_two_answers_counts():
    history = after_keep_all(SEARCH)
    (question,) = SEARCH.ask(history)
    one, two = complete(1, question, KEPT), complete(2, question, LOST)
    expected = SEARCH.ask([*history, one])
    assert SEARCH.ask([*history, one, two]) == SEARCH.ask([two, *history, one]) == expected


def test_pruned_trial_counts_as_rejected():
    history = after_keep_all(SEARCH)
    (question,) = SEARCH.ask(history)
    pruned = Trial(1, question.params, question.schedule, TrialState.PRUNED, reason="hopeless")
    assert asked(SEARCH, [*history, pruned]) == asked(
        SEARCH, [*history, complete(1, question, LOST)]
    )


def test_failure_of_keep_all_ends_the_search_with_its_reason():
    go_on = dataclasses.replace(SEARCH, on_failure="continue")
    history = [failed(0, *go_on.ask([]))]
    with pytest.raises(RunError, match="keep-all could not be measured: no memory; .* new study"):
        go_on.ask(history)
    assert not go_on.finished(history)
    assert go_on.best(history) is None
    assert go_on.status(history).phase == "refused"
    assert SEARCH.ask(history) == SEARCH.ask([])


def test_keep_all_on_a_single_sample_cannot_be_confident():
    confident = dataclasses.replace(SEARCH, acceptance="confident", tolerance=0.5)
    history = [complete(0, *confident.ask([]), [0.0])]
    with pytest.raises(InputError, match="its loss is inf at a tolerance of 0.5; calibrate on"):
        confident.ask(history)
    assert confident.best(history) is None


def test_result_so_far_is_always_accepted_and_never_grows():
    history, _ = search(SEARCH, 8, DIFFERENCES)
    results = [SEARCH.best(history[:n]) for n in range(len(history) + 1)]
    assert results[0] is None
    assert results[1].schedule == Schedule.full(6)
    assert results[-1].schedule == FOUND
    assert all(trial.measurement.drop == 0 for trial in results[1:])
    keeps = [trial.schedule.keep for trial in results[1:]]
    assert keeps == sorted(keeps, reverse=True)


def test_status_names_phase_layer_and_bracket():
    history = after_keep_all(SEARCH)
    (question,) = SEARCH.ask(history)
    assert SEARCH.status([]) == Status("keep-all", 0, 1 + 4 * 4)
    assert SEARCH.status([running(0, *SEARCH.ask([]))]).asked == 1
    assert SEARCH.status(history) == Status("pass 1", 1, 4 * 4, 2, (0, 8))
    rejected = [*history, complete(1, question, LOST)]
    assert question.params["count"] == 3
    assert SEARCH.status(rejected) == Status("pass 1", 2, 3 + 3 * 4, 2, (4, 8))
    done, _ = search(SEARCH, 8, DIFFERENCES)
    assert SEARCH.status(done) == Status("finished", len(done), 0)


@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.sampled_from(["bisection", "scan"]),
    st.integers(0, 3),
)
def test_estimate_of_a_single_pass_is_never_too_low_and_falls(seed, questions, method, floor):
    sampler = GSearch(layers=6, n_max=9, concurrent_trials=questions, method=method, floor=floor)
    history, rounds = search(sampler, 9, all_or_nothing(arbitrary(seed, 0.5, 9)))
    estimates, n = [], 0
    for size in [*rounds, 0]:
        estimates.append(sampler.status(history[:n]).rounds_left)
        n += size
    assert estimates == sorted(set(estimates), reverse=True)
    assert all(left >= len(rounds) - done for done, left in enumerate(estimates))
    assert estimates[-1] == 0


def test_nesting_compares_what_was_measured_under_the_same_ranker():
    history, _ = search(SEARCH, 8, DIFFERENCES)
    violations, comparable = SEARCH.nesting(history)
    assert violations == 0
    assert comparable >= len(history) - 1  # keep-all is above all others

    # Rejected although it keeps more than the result; twice, of which the first counts.
    above = Schedule.from_counts((8, 8, 8, 8, 8, 1), 8)
    more = [enqueued(90, above, LOST), enqueued(91, above, KEPT)]
    others = [
        enqueued(92, Schedule.full(6, RankerSpec("random")), LOST),
        enqueued(94, Schedule.full(7), LOST),
        failed(93, SEARCH.ask([])[0]),
    ]
    below = sum(
        trial.measurement.drop == 0
        and all(a <= b for a, b in zip(trial.schedule.keep, above.keep, strict=True))
        for trial in history
    )
    assert below > 0
    assert SEARCH.nesting([*history, *more, *others]).violations == below


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 2}, "`first` must be one of the layers 0 to 1, but got 2"),
        ({"n_max": 0}, "`n_max` must be an integer in .* but got 0"),
        ({"concurrent_trials": 0}, "`concurrent_trials` must be an integer in .* but got 0"),
        ({"concurrent_trials": 1.5}, "`concurrent_trials` must be an integer in .* but got 1.5"),
        ({"max_passes": 0}, "`max_passes` must be an integer in .* but got 0"),
        ({"floor": -1}, r"`floor` must be an integer in \[0, 8\], but got -1"),
        ({"floor": 9}, r"`floor` must be an integer in \[0, 8\], but got 9"),
        ({"tolerance": -0.1}, "`tolerance` must be a number from 0 on, but got -0.1"),
        ({"acceptance": "sure"}, "`acceptance` must be drop or confident, but got 'sure'"),
        ({"method": "golden"}, "`method` must be gallop, bisection or scan, but got 'golden'"),
        ({"on_failure": "retry"}, "`on_failure` must be stop or continue, but got 'retry'"),
        ({"slack": 1}, r"`slack` must be a number in \[0, 1\], but got 1"),
        ({"slack": -0.1}, r"`slack` must be a number in \[0, 1\], but got -0.1"),
        ({"screens": (4, 2)}, r"`screens` must be numbers .* grow from 1 on, but got \(4, 2\)"),
        ({"screens": (0, 2)}, r"`screens` must be numbers .* grow from 1 on, but got \(0, 2\)"),
        ({"screens": (2, 2)}, r"`screens` must be numbers .* grow from 1 on, but got \(2, 2\)"),
        ({"guess": (8, 8)}, "`guess` must have one count for each of 6 layers, but got 2"),
        ({"guess": (9,) * 6}, r"`guess` must be an integer in \[0, 8\], but got 9"),
        ({"n_visions": (4, 9)}, "`n_max` must be the greatest of `n_visions`, 9, but got 8"),
    ],
)
def test_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        GSearch(**{"layers": 6, "n_max": 8, **settings})
