"""Values of core as the JSON and the columns that hold them, and back."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from numbers import Integral
from typing import Any

from schedsearch.core.canonical import is_number
from schedsearch.core.plugin import ParamValue, PlugIn
from schedsearch.core.schedule import RankerSpec, Schedule, Target
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Measurement
from schedsearch.errors import InputError, RunError

_PLUG_INS: dict[str, type[PlugIn]] = {"sampler": PlugIn, "family": PlugIn, "ranker": RankerSpec}
_MEASURED = tuple(field.name for field in fields(Measurement))


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """Return all fields of a specification, plug-ins as name and parameters."""
    return {
        name: plug_in_to_json(value) if isinstance(value, PlugIn) else value
        for name, value in vars(spec).items()
    }


def spec_from_json(body: Mapping[str, Any]) -> StudySpec:
    """Return the specification that `spec_to_json` wrote.

    Raises:
        InputError: It has a field that this version does not know.
    """
    unknown = sorted(set(body) - {field.name for field in fields(StudySpec)})
    if unknown:
        raise InputError(
            f"study `{body['name']}` was written by a newer schedsearch (it has `{unknown[0]}`); "
            f"install that version or a later one"
        )
    plug_ins = {
        name: kind.from_mapping(**body[name]) for name, kind in _PLUG_INS.items() if name in body
    }
    return StudySpec(**{**body, **plug_ins})


def plug_in_to_json(plug_in: PlugIn) -> dict[str, Any]:
    """Return name and parameters."""
    return {"name": plug_in.name, "params": dict(plug_in.params)}


def target_to_json(target: Target | None) -> dict[str, Any] | None:
    """Return the fields of the model that a schedule was made for."""
    return None if target is None else asdict(target)


def schedule_from_json(
    keep: list[float], ranker: Mapping[str, Any], target: Mapping[str, Any] | None
) -> Schedule:
    """Return the schedule of a trial."""
    made_for = None if target is None else Target(**target)
    return Schedule(tuple(keep), RankerSpec.from_mapping(**ranker), made_for)


def params_to_json(params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """Return a sampler's parameters as plain numbers and texts, NumPy's scalars included.

    Raises:
        InputError: One is something else, or not finite.
    """
    return {name: _param(name, value) for name, value in params.items()}


def measurement_to_columns(measurement: Measurement) -> dict[str, float | int | None]:
    """Return the columns of a trial that hold its measurement.

    Raises:
        RunError: A number is not finite; SQL has no place for it.
    """
    columns = asdict(measurement)
    for name, value in columns.items():
        if value is not None and not math.isfinite(value):
            raise RunError(f"`{name}` must be finite, but got {value}; correct what measures it")
    return columns


def measurement_from_columns(row: Any) -> Measurement | None:
    """Return the measurement of a trial's row, None where it has none."""
    if row.score is None:
        return None
    return Measurement(**{name: getattr(row, name) for name in _MEASURED})


def readable(text: str) -> str:
    """Return a text for people to read, without the characters that no database takes."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable(text: str, what: str) -> str:
    """Return a text that must come back unchanged.

    Raises:
        InputError: It contains NUL or half a surrogate pair.
    """
    if readable(text) != text:
        raise InputError(f"{what} must be valid text, but got {text!r}; remove what is not")
    return text


def _param(name: str, value: object) -> ParamValue:
    if isinstance(value, str):
        return value
    if isinstance(value, Integral) and is_number(value):
        return int(value)
    if is_number(value) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise InputError(
        f"parameter `{name}` of a trial must be a finite number or a text, but got {value!r}; "
        f"correct the sampler"
    )
