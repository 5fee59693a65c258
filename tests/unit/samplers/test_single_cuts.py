"""What single cuts lose, and what follows for schedules of many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError
from schedsearch.samplers.single_cuts import SingleCuts, single_cuts

FIRST, SHARES = 1, (0.0, 0.25, 0.5)
MONOTONE = ((4.0, 3.0, 1.0), (2.0, 1.5, 0.5), (1.0, 0.25, 0.0))
NOISY = ((2.0, 3.0, 1.0), (2.0, 0.5, 0.75), (0.5, 0.75, 0.0))

losses = st.lists(st.tuples(*[st.floats(0, 5)] * 3), min_size=1, max_size=4).map(tuple)
shares = st.floats(0, 1)


@given(losses)
def test_schedule_of_one_cut_loses_what_was_measured(rows):
    table = SingleCuts(FIRST, SHARES, tuple(tuple(sorted(row, reverse=True)) for row in rows))
    for schedule, lost in zip(
        single_cuts(table.layers, FIRST, SHARES), sum(table.losses, ()), strict=True
    ):
        assert table.predicted(schedule) == pytest.approx(lost)


@given(losses, st.data())
def test_layers_add_up_to_what_leaves_at_each_cut(rows, data):
    table = SingleCuts(FIRST, SHARES, rows)
    keep = sorted((data.draw(shares) for _ in rows), reverse=True)

    def cut(layer, share):
        return table.predicted(Schedule((1.0,) * layer + (share,) * (table.layers - layer)))

    before = [1.0, *keep[:-1]]
    leaving = [
        cut(FIRST + at, own) - cut(FIRST + at, above)
        for at, (own, above) in enumerate(zip(keep, before, strict=True))
    ]
    assert table.predicted(Schedule((1.0, *keep))) == pytest.approx(sum(leaving))
    assert min(leaving) >= -1e-9


@given(losses, shares, shares)
def test_a_cut_loses_no_less_than_a_milder_one(rows, one, other):
    table, few, many = SingleCuts(FIRST, SHARES, rows), min(one, other), max(one, other)
    for layer in range(FIRST, table.layers):
        held, rest = (1.0,) * layer, table.layers - layer
        harsh, mild = (table.predicted(Schedule(held + (share,) * rest)) for share in (few, many))
        assert harsh >= mild - 1e-9


def test_between_shares_the_loss_is_a_straight_line_to_0_at_1():
    table = SingleCuts(0, (0.0, 0.5), ((3.0, 1.0),))
    predicted = [table.predicted(Schedule((share,))) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert predicted == [3, 2, 1, 0.5, 0]


def test_noise_does_not_make_a_harsher_cut_better():
    table = SingleCuts(FIRST, SHARES, NOISY)
    cuts = single_cuts(table.layers, FIRST, SHARES)
    predicted = [table.predicted(schedule) for schedule in cuts]
    assert predicted == [3.0, 3.0, 1.0, 2.0, 0.75, 0.75, 0.75, 0.75, 0.0]


def test_need_of_a_layer_is_the_least_count_that_loses_next_to_nothing_alone():
    # 5 % of the worst are .2 nats. The third reducible layer loses nothing, but what the one below
    # needs has to pass through it.
    rows = ((4.0, 3.0, 1.25), (2.0, 1.5, 0.6), (0.0, 0.0, 0.0), (1.0, 0.35, 0.05))
    assert SingleCuts(FIRST, SHARES, rows).needs(100) == [100, 92, 84, 38, 38]


def test_model_that_loses_nothing_needs_nothing():
    assert SingleCuts(FIRST, SHARES, ((0.0,) * 3,) * 2).needs(10) == [10, 0, 0]


def test_neighbours_among_single_cuts_have_all_layers_before_in_common():
    cuts = single_cuts(4, 1, SHARES)
    assert len(cuts) == 9
    common = [one.common_layers(other) for one, other in zip(cuts, cuts[1:], strict=False)]
    assert common == [1, 1, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("shares", "rows", "said"),
    [
        ((), ((),), "`shares` must ascend"),
        ((0.5, 0.25), ((1.0, 1.0),), "`shares` must ascend"),
        ((0.5, 1.0), ((1.0, 1.0),), "`shares` must ascend"),
        ((0.0, 0.5), ((1.0, 0.5), (1.0,)), "must have 2 numbers for each layer"),
        ((0.0,), (), "must have 1 numbers for each layer"),
    ],
)
def test_table_that_is_none_is_refused(shares, rows, said):
    with pytest.raises(InputError, match=said):
        SingleCuts(FIRST, shares, rows)


@pytest.mark.parametrize("keep", [(1.0, 1.0), (0.5, 0.5, 0.5, 0.5)])
def test_schedule_whose_cuts_were_not_measured_has_no_prediction(keep):
    with pytest.raises(InputError, match="must have 4 layers and keep all tokens before layer 1"):
        SingleCuts(FIRST, SHARES, MONOTONE).predicted(Schedule(keep))
