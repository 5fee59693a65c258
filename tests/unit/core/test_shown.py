import pytest

from schedsearch.core.canonical import whole_number
from schedsearch.core.shown import shown
from schedsearch.errors import InputError


@pytest.mark.parametrize("value", [1, -2.5, "a", [1, 2], {"a": 1}, None, 10**100])
def test_short_values_are_shown_whole(value):
    assert shown(value) == repr(value)


@pytest.mark.parametrize(
    "value", ["a" * 10**6, [0.5] * 10**5, {n: n for n in range(10**5)}, "🙂" * 999]
)
def test_long_values_are_shown_short(value):
    assert len(shown(value)) < 200


def test_number_that_python_does_not_write_out_is_told_by_its_length():
    assert shown(10**5000) == "a number of 5000 digits"
    assert shown([-(10**5000)]) == "[a number of 5000 digits]"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("d\udc80", r"'d\x80'"),
        ("\udcc3\udcbc\udc80", r"'ü\x80'"),
        (r"d\udc80", r"'d\\udc80'"),
        ("\\\udc80", r"'\\\x80'"),
        ("\ud800", r"'\ud800'"),
        ("tab\t\udcff", r"'tab\t\xff'"),
    ],
)
def test_bytes_of_names_are_quoted_as_messages_show_them(text, quoted):
    assert shown(text) == quoted
    assert shown([text]) == f"[{quoted}]"


@pytest.mark.parametrize("text", ["0", "-7", str(10**300)])
def test_whole_numbers_are_read(text):
    assert whole_number(text) == int(text)


@pytest.mark.parametrize("digits", [400, 5000, 10**6])
def test_whole_number_without_end_is_refused_in_our_words(digits):
    with pytest.raises(InputError, match=f"must be finite, but got one of {digits} digits"):
        whole_number("9" * digits)
