import json
import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given

from schedsearch.core.trial import Measurement
from schedsearch.errors import InputError, RunError
from schedsearch.store.codec import (
    measurement_from_columns,
    measurement_to_columns,
    params_to_json,
    plug_in_to_json,
    progress_from_json,
    readable,
    schedule_from_json,
    spec_from_json,
    spec_to_json,
    storable,
    target_to_json,
)
from schedsearch.store.tables import TrialRow
from tests.unit.core.strategies import targeted_schedules
from tests.unit.store.strategies import MEASURED, PROGRESS, SPEC, measurements, params, specs


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


@given(specs)
def test_specification_comes_back_from_json(spec):
    back = spec_from_json(through_json(spec_to_json(spec)))
    assert back == spec
    assert back.digest() == spec.digest()


@given(targeted_schedules())
def test_schedule_comes_back_from_json_with_its_target(schedule):
    keep, ranker, target = through_json(
        [schedule.keep, plug_in_to_json(schedule.ranker), target_to_json(schedule.target)]
    )
    back = schedule_from_json(keep, ranker, target)
    assert back == schedule
    assert back.target == schedule.target
    assert back.digest() == schedule.digest()


@given(params)
def test_parameters_come_back_from_json_with_their_types(given_params):
    back = through_json(params_to_json(given_params))
    assert back == given_params
    assert [type(value) for value in back.values()] == [type(v) for v in given_params.values()]


def test_scalars_of_numpy_become_plain_numbers():
    plain = params_to_json({"count": np.int64(3), "keep": np.float32(0.5)})
    assert [(type(value), value) for value in plain.values()] == [(int, 3), (float, 0.5)]


@pytest.mark.parametrize("value", [math.nan, math.inf, True, None, [1], np.bool_(True)])
def test_parameter_that_is_neither_number_nor_text_is_refused(value):
    with pytest.raises(InputError, match="parameter `keep` of a trial must be a finite number"):
        params_to_json({"keep": value})


@given(measurements)
def test_measurement_comes_back_from_its_columns(measurement):
    row = TrialRow(**measurement_to_columns(measurement))
    assert (
        measurement_from_columns(*(getattr(row, one.name) for one in fields(Measurement)))
        == measurement
    )


def test_trial_has_a_column_for_every_field_of_a_measurement():
    names = {field.name for field in fields(Measurement)}
    assert names <= {column.name for column in TrialRow.__table__.columns}


@pytest.mark.parametrize("name", [field.name for field in fields(Measurement)])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_measurement_with_a_number_that_is_not_finite_is_refused(name, value):
    with pytest.raises(RunError, match=f"`{name}` must be finite, but got {value}"):
        measurement_to_columns(replace(MEASURED, **{name: value}))


def test_specification_of_a_newer_version_is_refused():
    with pytest.raises(InputError, match=r"study `demo` was written by a newer .*`horizon`"):
        spec_from_json({**spec_to_json(SPEC), "horizon": 3})


def test_specification_without_a_field_that_was_added_later_has_its_default():
    older = spec_to_json(SPEC)
    del older["ranker"], older["seed"], older["dtype"]
    assert spec_from_json(older) == SPEC


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_text_that_no_database_takes_is_marked_or_refused(text):
    assert readable(text) in ("a\ufffdb", "a?b")
    with pytest.raises(InputError, match="the key of a sample must be valid text"):
        storable(text, "the key of a sample")


def test_valid_text_is_stored_as_it_is():
    assert storable("Größe 👍\n", "it") == readable("Größe 👍\n") == "Größe 👍\n"


def test_progress_of_a_later_version_is_read_without_what_is_new():
    told = asdict(PROGRESS)
    later = {**told, "new": 1, "workers": [{**one, "new": 1} for one in told["workers"]]}
    assert progress_from_json(later) == PROGRESS
    earlier = {name: value for name, value in told.items() if name != "workers"}
    assert progress_from_json(earlier) == replace(PROGRESS, workers=())
