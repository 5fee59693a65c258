"""Curves around a curve."""

from hypothesis import given
from hypothesis import strategies as st

from schedsearch.samplers.around import Around
from tests.pace import examples

N_MAX = 40


@st.composite
def places(draw: st.DrawFn) -> tuple[Around, dict[str, float]]:
    first, deeper = draw(st.integers(0, 3)), draw(st.integers(1, 12))
    counts = draw(st.lists(st.integers(0, N_MAX), min_size=deeper, max_size=deeper))
    curve = (N_MAX,) * first + tuple(sorted(counts, reverse=True))
    around = Around(curve, N_MAX, first, draw(st.integers(0, min(curve))))
    shares = st.floats(0, 1)
    return around, {one.name: one.at(draw(shares)) for one in around.space.parameters}


@examples(200)
@given(places())
def test_counts_never_grow_and_stay_within_their_bounds(place):
    around, point = place
    counts = around.counts(point)
    assert len(counts) == len(around.curve)
    assert counts[: around.first] == around.curve[: around.first]
    assert list(counts) == sorted(counts, reverse=True)
    assert around.floor <= min(counts) and max(counts) <= N_MAX


@examples(100)
@given(places())
def test_factors_of_1_leave_the_curve_as_it_is(place):
    around, _ = place
    assert around.space.check(around.itself) == around.itself
    assert around.counts(around.itself) == around.curve


def test_every_layer_is_scaled_by_the_factor_of_its_block():
    around = Around((40, 20, 20, 10, 10, 5, 0), 40, 1)
    assert list(around.itself) == ["scale_1", "scale_2", "scale_4", "scale_5"]
    factors = {"scale_1": 1.0, "scale_2": 0.6, "scale_4": 0.6, "scale_5": 2.0}
    # 5 becomes 11, but the layer before keeps 6 only; 0 becomes 1.
    assert around.counts(factors) == (40, 20, 12, 6, 6, 6, 1)


def test_there_are_no_more_blocks_than_layers():
    assert list(Around((8, 8, 4), 8, 1).itself) == ["scale_1", "scale_2"]
