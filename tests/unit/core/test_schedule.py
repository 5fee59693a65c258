import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.schedule import (
    RankerSpec,
    Schedule,
    Target,
    kept_count,
    reducible_layers,
)
from schedsearch.errors import InputError, ScheduleError
from tests.unit.core.strategies import descending, ratios, schedules


def test_seven_twenty_fifths_of_25_tokens_are_seven():
    assert math.ceil(7 / 25 * 25) == 8  # what the slack is for
    assert kept_count(7 / 25, 25) == 7


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_every_grid_ratio_keeps_its_own_count(case):
    k, n = case
    assert kept_count(k / n, n) == k


@given(ratios, st.integers(0, 20_000))
def test_kept_count_is_the_exact_ceiling_up_to_the_slack(keep, n):
    count = kept_count(keep, n)
    assert 0 <= count <= n
    exact = Fraction(keep) * n
    slack = Fraction(2, 10**6)  # the documented 1e-6, and room for the rounding of the product
    assert exact - slack <= count < exact + 1


def test_ratio_just_above_a_count_keeps_one_token_more():
    assert kept_count(0.5 + 1e-4, 64) == 33
    assert kept_count(1e-4, 64) == 1


def test_negative_token_count_is_refused():
    with pytest.raises(InputError, match="`n` must be a number of tokens, but got -1"):
        kept_count(0.5, -1)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ((), "`keep` must not be empty"),
        ((1.0, 0.25, 0.5), r"non-increasing, but got 0.25 -> 0.5 at layer 2; .*0.25 or less"),
        ((1.0, 1.5), r"must lie in \[0, 1\], but got 1.5 at layer 1"),
        ((1.0, -0.1), r"must lie in \[0, 1\], but got -0.1 at layer 1"),
        ((1.0, math.nan), r"must lie in \[0, 1\], but got nan at layer 1"),
        ((math.inf, 1.0), r"must lie in \[0, 1\], but got inf at layer 0"),
        ((10**400,), r"must lie in \[0, 1\]"),
        ((1.0, True), "must consist of numbers, but got True at layer 1"),
        ((1.0, None), "must consist of numbers, but got None at layer 1"),
        (("1.0",), "must consist of numbers, but got '1.0' at layer 0"),
        ("1.0", "must be a sequence .* but got '1.0'"),
        (0.5, "must be a sequence .* but got 0.5"),
        ({0.5, 1.0}, "must be a sequence"),
        ({1.0: 1}, "must be a sequence"),
        (b"\x01", "must be a sequence"),
    ],
)
def test_invalid_keep_is_refused_with_layer_and_remedy(keep, message):
    with pytest.raises(ScheduleError, match=message):
        Schedule(keep)


def test_lists_integers_and_numpy_floats_become_plain_floats():
    schedule = Schedule(np.array([1, 0.5], dtype=np.float32))
    assert schedule == Schedule([1, 0.5]) == Schedule((1.0, 0.5))
    assert all(type(ratio) is float for ratio in schedule.keep)
    assert schedule.digest() == Schedule((1.0, 0.5)).digest()


def test_counts_hold_for_every_prompt_length():
    schedule = Schedule((1.0, 1.0, 0.5, 0.28, 0.0))
    assert schedule.layers == 5
    assert schedule.counts(25) == (25, 25, 13, 7, 0)
    assert schedule.counts(1) == (1, 1, 1, 1, 0)
    assert schedule.counts(0) == (0, 0, 0, 0, 0)


def test_cut_layers_are_those_before_which_tokens_leave():
    assert Schedule((1.0, 1.0, 0.5, 0.5, 0.25)).cut_layers(8) == (2, 4)
    assert Schedule((0.5, 0.5)).cut_layers(8) == (0,)
    assert Schedule.full(4).cut_layers(8) == ()


def test_no_layer_drops_where_a_short_prompt_rounds_to_the_same_count():
    assert Schedule((1.0, 0.9, 0.6)).cut_layers(2) == ()


@given(schedules, st.integers(0, 3000))
def test_counts_never_grow_with_depth(schedule, n):
    counts = (n, *schedule.counts(n))
    assert list(counts) == sorted(counts, reverse=True)
    assert counts[-1] >= 0


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(descending(st.integers(0, n)), st.just(n))))
def test_grid_schedule_returns_its_counts(case):
    counts, n_max = case
    assert Schedule.from_counts(counts, n_max).counts(n_max) == counts


@pytest.mark.parametrize(
    ("counts", "n_max", "message"),
    [
        ((4, 5), 4, r"`counts` must lie in \[0, 4\], but got 5 at layer 1"),
        ((4, -1), 4, r"but got -1 at layer 1"),
        ((4, 2, 3), 4, "non-increasing"),
        ((), 4, "must not be empty"),
        ((0,), 0, "`n_max` must be at least 1 token, but got 0"),
    ],
)
def test_counts_off_the_grid_are_refused(counts, n_max, message):
    with pytest.raises(ScheduleError, match=message):
        Schedule.from_counts(counts, n_max)


def test_target_is_a_note_and_not_identity():
    here = Schedule((1.0, 0.5), target=Target("A", layers=2))
    there = Schedule((1.0, 0.5), target=Target("B", layers=2, model="b"))
    assert here == there
    assert hash(here) == hash(there)
    assert here.digest() == there.digest()


def test_ranker_and_its_parameters_are_identity():
    plain = Schedule((1.0, 0.5))
    seeds = [Schedule((1.0, 0.5), RankerSpec("random", (("seed", seed),))) for seed in (0, 1)]
    assert len({plain, *seeds}) == 3
    assert len({schedule.digest() for schedule in (plain, *seeds)}) == 3
    assert not seeds[0].same_evaluation(seeds[1], [8])


@given(schedules, schedules)
def test_digests_agree_exactly_where_schedules_are_equal(one, two):
    assert (one.digest() == two.digest()) == (one == two)
    assert pickle.loads(pickle.dumps(one)).digest() == one.digest()  # noqa: S301


def test_digest_is_the_published_one():
    # Stored studies and exported files refer to it: a change here orphans them.
    schedule = Schedule((1.0, 1.0, 7 / 25, 0.1), RankerSpec("random", (("seed", 3),)))
    assert schedule.digest() == "aec2955eca5afcb9ea42cc873470c806a8e926ea7c9433fbd8507a3d6fb7453b"


def test_negative_zero_is_zero():
    assert Schedule((1.0, -0.0)).digest() == Schedule((1.0, 0.0)).digest()


def test_same_evaluation_compares_counts_over_the_given_lengths():
    half, little_more = Schedule((1.0, 0.5)), Schedule((1.0, 0.51))
    assert half.same_evaluation(little_more, [3, 9])
    assert not half.same_evaluation(little_more, [3, 9, 100])


def test_target_of_another_depth_is_refused():
    with pytest.raises(ScheduleError, match="got 2 for 32 layers of LlavaForCond"):
        Schedule((1.0, 0.5), target=Target("LlavaForConditionalGeneration", layers=32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architecture": "", "layers": 2}, "`architecture` must not be empty"),
        ({"architecture": "A", "layers": 0}, "`layers` must be at least 1, but got 0"),
        (
            {"architecture": "A", "layers": 2, "hidden_size": -4},
            "`hidden_size` must be at least 1, but got -4",
        ),
    ],
)
def test_impossible_target_is_refused(fields, message):
    with pytest.raises(ScheduleError, match=message):
        Target(**fields)


def test_full_schedule_keeps_everything():
    assert Schedule.full(3, RankerSpec("text")) == Schedule((1.0, 1.0, 1.0), RankerSpec("text"))


def test_reducible_layers_run_from_first_to_the_last():
    assert list(reducible_layers(2, 5)) == [2, 3, 4]
    for first in (-1, 5):
        with pytest.raises(InputError, match=rf"layers 0 to 4, but got {first}"):
            reducible_layers(first, 5)
