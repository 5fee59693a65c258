import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.plugin import PlugIn
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.study import StudySpec
from schedsearch.errors import InputError
from tests.unit.core.strategies import names, param_values, rankers

BASE = StudySpec(
    name="demo",
    model="example/llava-tiny",
    calibration="shapesvqa",
    calibration_digest="60303ae2",
    metric="exact_match",
    sampler=PlugIn.from_mapping("g-search", {"acceptance": "confident", "tolerance": 0.01}),
)
CHANGES = {
    "name": "other",
    "model": "example/llava-large",
    "calibration": "own",
    "calibration_digest": "ffff",
    "metric": "log_likelihood",
    "sampler": PlugIn("random"),
    "family": PlugIn("step"),
    "ranker": RankerSpec("text"),
    "revision": "main",
    "weights": "0123",
    "dtype": "bfloat16",
    "quantization": "8bit",
    "questions": 3,
    "seed": 1,
}

plugins = st.builds(PlugIn.from_mapping, names, st.dictionaries(names, param_values, max_size=3))
specs = st.builds(
    StudySpec,
    name=names,
    model=names,
    calibration=names,
    calibration_digest=names,
    metric=names,
    sampler=plugins,
    family=plugins,
    ranker=rankers,
    revision=st.none() | names,
    weights=st.none() | names,
    dtype=names,
    quantization=st.none() | names,
    questions=st.integers(1, 4),
    seed=st.integers(0, 9),
)


def test_every_field_is_part_of_the_identity():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(StudySpec)}
    changed = [dataclasses.replace(BASE, **{name: value}) for name, value in CHANGES.items()]
    assert len({spec.digest() for spec in (BASE, *changed)}) == len(CHANGES) + 1
    assert all(spec.difference(BASE) for spec in changed)


def test_difference_names_path_and_both_values():
    sampler = PlugIn.from_mapping("g-search", {"tolerance": 0.02, "mode": "scan"})
    other = dataclasses.replace(BASE, sampler=sampler, questions=2)
    assert BASE.difference(other) == [
        ("questions", 1, 2),
        ("sampler.params.acceptance", "confident", None),
        ("sampler.params.mode", None, "scan"),
        ("sampler.params.tolerance", 0.01, 0.02),
    ]


@given(specs, specs)
def test_equal_specs_are_those_without_difference_and_with_one_digest(one, two):
    for a, b in ((one, two), (one, dataclasses.replace(one))):
        assert (a == b) == (a.difference(b) == []) == (a.digest() == b.digest())


@pytest.mark.parametrize("field", ["name", "model", "calibration", "calibration_digest", "metric"])
def test_empty_field_is_refused(field):
    with pytest.raises(InputError, match=f"`{field}` must not be empty"):
        dataclasses.replace(BASE, **{field: ""})


def test_less_than_one_question_is_refused():
    with pytest.raises(InputError, match="`questions` must be at least 1, but got 0"):
        dataclasses.replace(BASE, questions=0)
