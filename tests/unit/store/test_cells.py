"""A column at a time is what each of its cells is alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.store.cells import Amount, Cell, Mapping, Numbers, Real, UtcTime, Whole, Words
from schedsearch.store.failures import DamagedCell

CELLS = [
    cell(null)
    for cell in (Words, Whole, Real, Amount, UtcTime, Mapping, Numbers)
    for null in (False, True)
]
MOMENTS = ["2026-01-02 03:04:05.000006", "2026-01-02T03:04:05+02:00", "2026-13-02", "yesterday"]
# Halves of values that would be whole with their neighbours, and two values that look like one.
JSON = [
    *("[1, 2.5]", "[]", "[1", "2]", "[1],[2]", "[[1]", "[2]]", "[1, true]", "[NaN]", "[1e999]", ""),
    *('{"a": 1}', "{}", '{"a": {"b": 1}', '{"c": 2}}', '{"a": 1},{"b": 2}', '{"a"', "null", "1"),
]
VALUES = st.one_of(
    st.sampled_from([*MOMENTS, *JSON]),
    st.text(max_size=3),
    st.integers(-3, 2**70),
    st.floats(),
    st.none(),
    st.binary(max_size=2),
    st.booleans(),
)


def outcome(decode: Any) -> Any:
    try:
        return repr(list(decode()))
    except DamagedCell as error:
        return str(error)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{type(cell).__name__} {cell.null}")
@given(st.lists(VALUES, max_size=4))
def test_a_column_is_read_as_its_cells_are(cell: Cell[Any], values: list[Any]) -> None:
    assert outcome(lambda: cell.decode_all(values)) == outcome(lambda: map(cell.decode, values))


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        (Words(), ["a", ""]),
        (Whole(True), [1, None, 0]),
        (Real(), [1.5, -2.0]),
        (Amount(True), [0.0, None]),
        (UtcTime(), MOMENTS[:2]),
        (Mapping(), ['{"a": 1}', "{}"]),
        (Numbers(), ["[1, 2.5]", "[]"]),
        (Numbers(), ["[1", "2]", "[3],[4]"]),
        (Numbers(), ["[[1]", "[2]]", "[3],[4]"]),
        (Mapping(), ['{"a": {"b": 1}', '{"c": 2}}', '{"d": 3},{"e": 4}']),
    ],
)
def test_what_is_written_and_what_pretends_to_be(cell: Cell[Any], values: list[Any]) -> None:
    assert outcome(lambda: cell.decode_all(values)) == outcome(lambda: map(cell.decode, values))
