"""How a long test has a fast part: fewer examples, or some of the parameters.

Without `--full` pytest leaves out what is marked `full`: more of what other parameters of the same
test, or another test, show too.
"""

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import settings


def examples(count: int) -> settings:
    """So many examples, and an eighth of them without `--full`."""
    full = settings.get_current_profile_name() == "full"
    return settings(max_examples=count if full else max(1, count // 8))


def some(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Values of a parameter, or tuples for several, all but the `fast` ones marked `full`."""
    return [one if one in fast else _full(one) for one in values]


def _full(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.full)
