"""Axes of plots that templates draw."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.space import Parameter
from schedsearch.service.pages.plots import axis, between, counts, layers, ratios, steps
from schedsearch.service.pages.words import asked_for, count, duration, figure, percent, size

finite = st.floats(-(2**20), 2**20, width=32)


@given(st.lists(finite, min_size=1, max_size=9))
def test_axis_shows_all_values_at_few_round_numbers(values):
    found = axis("x", values)
    less_than_a_pixel = 1e-6 * (found.high - found.low)
    assert found.low <= min(values) + less_than_a_pixel
    assert found.high >= max(values) - less_than_a_pixel
    assert 2 <= len(found.ticks) <= 8
    places = [place for place, _ in found.ticks]
    assert places[0] == 0
    assert places[-1] == 100
    assert places == sorted(places)
    for one in values:
        assert 0 <= found.at(one) <= 100


def test_axis_of_whole_numbers_has_no_others():
    assert all("." not in words for _, words in axis("n", (0, 2), whole=True).ticks)


def test_ticks_of_counts_end_at_the_most():
    assert counts(64, "").ticks[-1] == (100, "64")
    assert counts(576, "").at(288) == 50
    assert counts(1, "").ticks == ((0, "0"), (100, "1"))


def test_number_of_a_layer_stands_in_its_middle():
    assert layers(4, "").ticks[0] == (12.5, "0")
    assert len(layers(80, "").ticks) == 16


def test_axis_of_a_parameter_has_its_values():
    found = between(Parameter("k", 1, 100, log=True))
    assert [words for _, words in found.ticks] == ["1", "3.16", "10", "31.6", "100"]


def test_curve_steps_from_layer_to_layer():
    assert steps((1.0, 1.0, 0.5, 0.0)) == "M0 0H2V0.5H3V1H4"
    assert ratios("").ticks[0][1].startswith("0")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_curve_ends_at_the_last_layer(keep):
    ends = re.findall(r"H(\d+)", steps(keep))
    assert int(ends[-1]) == len(keep)
    assert [int(one) for one in ends] == sorted({int(one) for one in ends})


@pytest.mark.parametrize("words", [percent, figure, count, duration, size])
def test_what_is_not_known_is_a_dash(words):
    assert words(None) == "\N{EN DASH}"


def test_numbers_have_units():
    spans = [duration(one).replace("\N{NARROW NO-BREAK SPACE}", " ") for one in (0, 65, 7260, 2e5)]
    assert spans == ["0 s", "1 min 05 s", "2 h 01 min", "2 days 7 h"]
    assert figure(-0.5, 1) == "\N{MINUS SIGN}0.5"
    assert count(10_000).replace("\N{NARROW NO-BREAK SPACE}", " ") == "10 000"
    assert size(2048).replace("\N{NARROW NO-BREAK SPACE}", " ") == "2 KiB"


def test_what_a_search_is_asked_for_is_told_in_words():
    def told(**search):
        return asked_for(search).replace("\N{LESS-THAN OR EQUAL TO}", "<=")

    assert told(tolerance=0.003) == "drop <= 0.003"
    assert told(max_drop=0.1, budget={"feasible": 0.5}) == "drop <= 0.1, 50% of the feasible FLOPs"
    assert told(budget={"flops": 0.4}) == "FLOPs <= 40%"
    assert told(budget={"my_cost": 3}) == "my_cost 3"
    assert told(sampler="random") == "\N{EN DASH}"
