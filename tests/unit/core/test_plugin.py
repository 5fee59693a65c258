import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.plugin import PlugIn
from schedsearch.core.schedule import RankerSpec
from schedsearch.errors import InputError
from tests.unit.core.strategies import names, param_values


@given(st.dictionaries(names, param_values, max_size=4))
def test_order_of_parameters_means_nothing(params):
    backwards = dict(reversed(params.items()))
    assert PlugIn.from_mapping("a", params) == PlugIn.from_mapping("a", backwards)
    assert dict(PlugIn.from_mapping("a", params).params) == params


def test_parameter_falls_back_to_the_default():
    spec = RankerSpec.from_mapping("random", {"seed": 7})
    assert spec.param("seed", 0) == 7
    assert spec.param("stride", 2) == 2


def test_whole_floats_and_integers_are_the_same_parameter():
    one, two = PlugIn("a", (("x", 2.0),)), PlugIn("a", (("x", 2),))
    assert one == two
    assert repr(one) == repr(two)


@pytest.mark.parametrize("value", [True, None, math.nan, math.inf, (1,), b"a"])
def test_parameter_that_json_cannot_express_is_refused(value):
    with pytest.raises(InputError, match="parameter `x` of `a` must be a finite number or a text"):
        PlugIn("a", (("x", value),))


def test_parameter_given_twice_is_refused():
    with pytest.raises(InputError, match="parameter `x` of `a` is given twice"):
        PlugIn("a", (("x", 1), ("y", 1), ("x", 2)))


@pytest.mark.parametrize("name", ["", None])
def test_plugin_without_a_name_is_refused(name):
    with pytest.raises(InputError, match="needs a name"):
        PlugIn(name)
