import math
from fractions import Fraction

import numpy as np
import pytest

from schedsearch.core.canonical import digest, is_number


def test_digest_ignores_the_order_of_keys_alone():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})


def test_digest_tells_neighbouring_floats_apart():
    assert digest(0.1) != digest(math.nextafter(0.1, 1))


def test_digest_of_nan_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": math.nan})


def test_numbers_are_real_and_not_truth_values():
    assert all(is_number(value) for value in (1, 0.5, Fraction(1, 3), np.float32(1), np.int64(1)))
    assert not any(is_number(value) for value in (True, np.True_, None, "1", 1j, [1]))
