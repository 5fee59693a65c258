import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.facts import Facts, Prompts
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.study import StudySpec
from schedsearch.errors import InputError
from tests.unit.core.strategies import facts, names, rankers, searches

SHAPE = DecoderShape(8, 32, 4, 2, 8, 64, 100)
BASE = StudySpec(
    name="demo",
    model="example/llava-tiny",
    calibration="shapesvqa",
    calibration_digest="60303ae2",
    metric="exact_match",
    search={"sampler": "g-search", "acceptance": "confident", "tolerance": 0.01},
    facts=Facts.of(SHAPE, [SampleTokens(64, 9), SampleTokens(36, 9), SampleTokens(64, 9)]),
)
CHANGES = {
    "name": "other",
    "model": "example/llava-large",
    "calibration": "own",
    "calibration_digest": "ffff",
    "metric": "log_likelihood",
    "search": {"sampler": "random"},
    "facts": Facts.of(SHAPE, [SampleTokens(64, 9)]),
    "ranker": RankerSpec("text"),
    "revision": "main",
    "weights": "0123",
    "dtype": "bfloat16",
    "quantization": "8bit",
    "seed": 1,
    "rankers": (RankerSpec(), RankerSpec("text")),
}

specs = st.builds(
    StudySpec,
    name=names,
    model=names,
    calibration=names,
    calibration_digest=names,
    metric=names,
    search=searches,
    facts=facts,
    ranker=rankers,
    revision=st.none() | names,
    weights=st.none() | names,
    dtype=names,
    quantization=st.none() | names,
    seed=st.integers(0, 9),
)


def test_one_ranker_is_written_as_before_there_could_be_several():
    assert "rankers" not in BASE.plain()
    assert dataclasses.replace(BASE, rankers=()).digest() == BASE.digest()


@pytest.mark.parametrize(
    "several", [("last",), ("text", "last"), ("last", "last")], ids=["one", "order", "twice"]
)
def test_rankers_are_several_and_begin_with_the_first(several):
    with pytest.raises(InputError, match="`rankers` must be several and begin with `ranker`"):
        dataclasses.replace(BASE, rankers=tuple(map(RankerSpec, several)))


def test_every_field_is_part_of_the_identity():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(StudySpec)}
    changed = [dataclasses.replace(BASE, **{name: value}) for name, value in CHANGES.items()]
    assert len({spec.digest() for spec in (BASE, *changed)}) == len(CHANGES) + 1
    assert all(spec.difference(BASE) for spec in changed)


def test_difference_names_path_and_both_values():
    search = {"sampler": "g-search", "tolerance": 0.02, "mode": "scan"}
    other = dataclasses.replace(BASE, search=search, seed=2)
    assert BASE.difference(other) == [
        ("search.acceptance", "confident", None),
        ("search.mode", None, "scan"),
        ("search.tolerance", 0.01, 0.02),
        ("seed", 0, 2),
    ]


def test_difference_goes_into_lists_and_mappings():
    def spec(midpoint: float, guess: list[int]) -> StudySpec:
        latency = {"layers": 8, "conditions": {"device": "cpu", "batch": 1}}
        starts = [{"midpoint": 0.5}, {"midpoint": midpoint}]
        search = {"sampler": "bayes", "starts": starts, "guess": guess, "latency": latency}
        return dataclasses.replace(BASE, search=search)

    assert spec(0.5, [1, 2]).difference(spec(0.75, [1, 2, 3])) == [
        ("search.guess", [1, 2], [1, 2, 3]),
        ("search.starts[1].midpoint", 0.5, 0.75),
    ]


def test_settings_that_say_the_same_are_equal():
    one = dataclasses.replace(BASE, search={"sampler": "a", "x": 2.0, "y": None, "z": (1, 2)})
    two = dataclasses.replace(BASE, search={"z": [1, 2], "x": 2, "sampler": "a"})
    assert one == two
    assert one.digest() == two.digest()


def test_facts_that_are_not_known_are_filled_in_and_no_others():
    lacking = Facts(8, (Prompts(36), Prompts(64)))
    assert lacking.n_visions == BASE.facts.n_visions == (36, 64)
    older = dataclasses.replace(BASE, facts=lacking)
    assert older.filled(BASE) == BASE
    assert BASE.filled(older) == BASE
    for other in (Facts(7, lacking.tokens), Facts(8, (Prompts(64),))):
        changed = dataclasses.replace(BASE, facts=other)
        assert changed.filled(BASE) == changed
    for ask in (lacking.samples, lambda: lacking.decoder):
        with pytest.raises(InputError, match="are not known; open the study with its"):
            ask()


def test_facts_say_every_prompt():
    assert BASE.facts.tokens == ((36, 9, 1), (64, 9, 2))
    assert BASE.facts.samples() == (SampleTokens(36, 9), SampleTokens(64, 9), SampleTokens(64, 9))
    assert BASE.facts.decoder == SHAPE
    with pytest.raises(InputError, match="`layers` must be those of `shape`, 8, but got 9"):
        Facts(9, BASE.facts.tokens, SHAPE)
    with pytest.raises(InputError, match="0 prompt lengths"):
        Facts(9, ())


@given(specs, specs)
def test_equal_specs_are_those_without_difference_and_with_one_digest(one, two):
    for a, b in ((one, two), (one, dataclasses.replace(one))):
        assert (a == b) == (a.difference(b) == []) == (a.digest() == b.digest())


@pytest.mark.parametrize("field", ["name", "model", "calibration", "calibration_digest", "metric"])
def test_empty_field_is_refused(field):
    with pytest.raises(InputError, match=f"`{field}` must not be empty"):
        dataclasses.replace(BASE, **{field: ""})


@pytest.mark.parametrize("search", [{}, {"sampler": ""}, {"sampler": 3}])
def test_search_without_a_sampler_is_refused(search):
    with pytest.raises(InputError, match=r"`search\.sampler` must be the name of a sampler"):
        dataclasses.replace(BASE, search=search)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_setting_that_json_has_no_place_for_is_refused(value):
    with pytest.raises(InputError, match=r"`search\.starts\[0\]\.floor` must be a finite number"):
        dataclasses.replace(BASE, search={"sampler": "a", "starts": [{"floor": value}]})
