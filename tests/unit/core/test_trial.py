import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, SampleScore, Task, Trial, TrialState
from schedsearch.errors import InputError, RunError

FULL = Schedule.full(4)


def scores(values: list[float]) -> list[SampleScore]:
    return [SampleScore(f"s{index}", value) for index, value in enumerate(values)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_measurement_is_the_mean_with_its_standard_error(values):
    measured = Measurement.of(scores(values), flops_ratio=0.5, kv_ratio=0.4)
    assert measured.n == len(values)
    assert measured.score == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-9)
    assert measured.standard_error == pytest.approx(
        math.sqrt(statistics.variance(values) / len(values)), rel=1e-9, abs=1e-9
    )


def test_measurement_depends_on_neither_order_nor_grouping():
    values = [0.1] * 10 + [1e9, -1e9, 0.3]
    there, back = (Measurement.of(scores(v), 0.5, 0.4) for v in (values, values[::-1]))
    assert there == back


def test_single_sample_has_no_standard_error():
    assert Measurement.of(scores([1.0]), 0.5, 0.4).standard_error is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_score_that_is_not_finite_names_the_sample(value):
    with pytest.raises(RunError, match=f"must be finite, but got {value} on sample s1"):
        Measurement.of(scores([1.0, value]), 0.5, 0.4)


def test_measurement_of_nothing_is_refused():
    with pytest.raises(RunError, match="needs scores"):
        Measurement.of([], 0.5, 0.4)


@pytest.mark.parametrize("ids", [(), ("a", "b", "a")])
def test_task_asks_for_each_sample_once(ids):
    with pytest.raises(InputError, match="a task needs samples, each once"):
        Task(FULL, "calibration", ids)


def test_final_states_are_finished():
    final = ["COMPLETE", "SCREENED", "PRUNED", "FAIL"]
    assert [state for state in TrialState if state.finished] == final


def test_trial_carries_what_its_state_promises():
    measured = Measurement.of(scores([1.0, 0.0]), 0.5, 0.4)
    Trial(0, {}, FULL)
    Trial(0, {}, FULL, TrialState.RUNNING)
    Trial(0, {"keep": 0.5}, FULL, TrialState.COMPLETE, measured)
    Trial(0, {}, FULL, TrialState.FAIL, reason="out of memory")
    Trial(0, {}, FULL, TrialState.SCREENED, reason="not rejected by 5 samples", samples=5)
    for broken in (
        {"state": TrialState.COMPLETE, "measurement": measured, "samples": 5},
        {"state": TrialState.SCREENED, "reason": "on all samples"},
        {"state": TrialState.SCREENED, "samples": 5},
        {
            "state": TrialState.SCREENED,
            "measurement": measured,
            "reason": "not rejected by 5 samples",
            "samples": 5,
        },
        {"state": TrialState.COMPLETE},
        {"state": TrialState.WAITING, "measurement": measured},
        {"state": TrialState.FAIL},
        {"state": TrialState.PRUNED},
        {"state": TrialState.FAIL, "measurement": measured, "reason": "late"},
    ):
        with pytest.raises(AssertionError):
            Trial(0, {}, FULL, **broken)


def test_drop_is_paired_with_keep_all() -> None:
    full = [SampleScore(str(i), score) for i, score in enumerate([1.0, 1.0, 0.0, 1.0])]
    scores = [SampleScore(str(i), score) for i, score in enumerate([1.0, 0.0, 0.0, 0.0])]

    measured = Measurement.of(scores, 0.5, 0.5, full)

    differences = [0.0, 1.0, 0.0, 1.0]
    assert measured.drop == 0.5
    assert measured.drop_standard_error == pytest.approx(stats.sem(differences))


def test_drop_is_unknown_without_keep_all() -> None:
    measured = Measurement.of([SampleScore("a", 1.0)], 0.5, 0.5)
    assert (measured.drop, measured.drop_standard_error) == (None, None)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (3, 0), (1, 1), (9, 4), (2, 30)])
def test_chance_counts_each_gain_twice_and_losses_alone_not_at_all(lost, gained):
    drops = [1.0] * lost + [-1.0] * gained + [0.0] * (600 - lost - gained)
    full = [SampleScore(f"s{i}", float(drop > 0)) for i, drop in enumerate(drops)]
    own = [SampleScore(f"s{i}", float(drop < 0)) for i, drop in enumerate(drops)]

    measured = Measurement.of(own, 1.0, 1.0, full)

    assert measured.chance == pytest.approx(math.sqrt(2 * gained) / 600, abs=1e-12)


@pytest.mark.parametrize("right", [0, 1, 449, 599, 600])
def test_scores_of_0_and_1_show_how_many_samples_are_missed_and_others_do_not(right):
    scores = [1.0] * right + [0.0] * (600 - right)
    partly = [max(score, 0.2) for score in scores]

    def missed(values: list[float]) -> float:
        samples = [SampleScore(f"s{i}", value) for i, value in enumerate(values)]
        return Measurement.of(samples, 1.0, 1.0).missed

    assert missed(scores) == pytest.approx(1 - right / 600, abs=1e-12)
    assert missed(partly) == 0
