import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.space import Parameter, Space
from schedsearch.errors import InputError

SPACE = Space((Parameter("layer", 2, 7, integer=True), Parameter("keep", 0.0, 1.0)))


def test_values_come_back_in_order_as_plain_numbers():
    checked = SPACE.check({"keep": np.float32(0.5), "layer": np.int64(3)})
    assert list(checked.items()) == [("layer", 3), ("keep", 0.5)]
    assert [type(value) for value in checked.values()] == [int, float]


def test_bounds_belong_to_the_space():
    assert SPACE.check({"layer": 2, "keep": 0.0}) == {"layer": 2, "keep": 0.0}
    assert SPACE.check({"layer": 7.0, "keep": 1}) == {"layer": 7, "keep": 1.0}


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, True, None, "0.5"])
def test_value_outside_the_bounds_is_refused(value):
    with pytest.raises(InputError, match=r"`keep` must be a number in \[0, 1\], but got"):
        SPACE.check({"layer": 2, "keep": value})


@pytest.mark.parametrize("value", [1, 8, 2.5, math.nan, False])
def test_integer_parameter_refuses_everything_else(value):
    with pytest.raises(InputError, match=r"`layer` must be an integer in \[2, 7\], but got"):
        SPACE.check({"layer": value, "keep": 0.5})


def test_misspelled_parameter_is_named_with_the_nearest():
    with pytest.raises(InputError, match="`kep` is not a parameter here; did you mean keep"):
        SPACE.check({"layer": 2, "kep": 0.5})


def test_missing_parameter_is_named():
    with pytest.raises(InputError, match="`keep` is missing"):
        SPACE.check({"layer": 2})


def test_shares_run_from_low_to_high():
    assert [Parameter("keep", -1.0, 3.0).at(share) for share in (0, 0.5, 1)] == [-1.0, 1.0, 3.0]
    log = Parameter("steepness", 1.0, 100.0, log=True)
    assert [log.at(share) for share in (0, 0.5, 1)] == pytest.approx([1.0, 10.0, 100.0])


def test_integers_get_equal_shares():
    layer = Parameter("layer", 2, 5, integer=True)
    assert [layer.at(i / 8) for i in range(9)] == [2, 2, 3, 3, 4, 4, 5, 5, 5]


@given(st.floats(1e-12, 1e40), st.floats(1.0, 1e40), st.floats(0, 1), st.floats(0, 1))
def test_value_stays_within_the_bounds_and_never_falls(low, factor, one, other):
    parameter = Parameter("amplitude", low, low * factor, log=True)
    less, more = (parameter.at(share) for share in sorted((one, other)))
    assert low <= less <= more <= low * factor
