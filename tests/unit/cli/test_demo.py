"""Which embedded model the `demo` commands mean."""

import pytest

from schedsearch.cli.demo import _named
from schedsearch.errors import InputError


@pytest.mark.parametrize(
    ("name", "deep", "meant"),
    [
        ("demo", False, "demo"),
        ("demo", True, "demo-deep"),
        ("demo-deep", True, "demo-deep"),
        ("smollm2", False, "smollm2"),
    ],
)
def test_deep_is_short_for_a_name(name, deep, meant):
    assert _named(name, deep) == meant


@pytest.mark.parametrize(
    ("name", "deep", "message"),
    [
        ("nope", False, "'nope' is no embedded model; choose demo"),
        ("smollm2", True, "leave one out"),
    ],
)
def test_another_name_is_refused(name, deep, message):
    with pytest.raises(InputError, match=message):
        _named(name, deep)
