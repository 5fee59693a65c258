"""Values of core as the JSON and the columns that hold them, and back."""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache, lru_cache
from numbers import Integral
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from schedsearch.core.canonical import is_number
from schedsearch.core.facts import Facts
from schedsearch.core.plugin import ParamValue, PlugIn
from schedsearch.core.progress import Progress, Wish, WorkerSeen
from schedsearch.core.schedule import RankerSpec, Schedule, Target
from schedsearch.core.stint import Stint
from schedsearch.core.study import StudySpec
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.errors import InputError, RunError, SchedsearchError
from schedsearch.store.failures import DamagedCell
from schedsearch.store.process import Process
from schedsearch.store.terms import LEASE_SECONDS, Holder

T = TypeVar("T")

_UNREADABLE = (
    SchedsearchError,
    AssertionError,
    AttributeError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
)
_WISHES: dict[str, Wish] = {wish: wish for wish in get_args(Wish)}
MEASURED = tuple(field.name for field in fields(Measurement))
"""Columns of a trial that hold its measurement."""
_DROP = MEASURED.index("drop")
_STATES: dict[str, TrialState] = {state: state for state in TrialState}


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise `DamagedCell` for whatever a value that is read cannot be made of."""
    try:
        yield
    except _UNREADABLE as error:
        raise DamagedCell(f"{what} cannot be read: {error}") from error


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """Return all fields of a specification."""
    return spec.plain()


def spec_from_json(body: Mapping[str, Any]) -> StudySpec:
    """Return the specification that `spec_to_json` wrote.

    Raises:
        InputError: It has a field that this version does not know.
    """
    with decoding("the specification"):
        name = body["name"]
        unknown = sorted(set(body) - {field.name for field in fields(StudySpec)})
    if unknown:
        raise InputError(
            f"study `{name}` was written by a newer schedsearch (it has `{unknown[0]}`); "
            f"install that version or a later one"
        )
    with decoding(f"the specification of study `{name}`"):
        parts: dict[str, Any] = {"facts": Facts.from_plain(body["facts"])}
        if "ranker" in body:
            parts["ranker"] = RankerSpec.from_mapping(**body["ranker"])
        if "rankers" in body:
            parts["rankers"] = tuple(RankerSpec.from_mapping(**one) for one in body["rankers"])
        return of_types(StudySpec(**{**body, **parts}))


def holder_to_json(holder: Holder) -> dict[str, Any]:
    """Return the fields of the process, and for how long each sign of it is good."""
    return {**asdict(holder.process), "seconds": holder.seconds}


def holder_from_json(body: Mapping[str, Any]) -> Holder:
    """Return who holds a lease."""
    with decoding("the holder of a lease"):
        fields_of_process = {name: value for name, value in body.items() if name != "seconds"}
        process = of_types(Process(**fields_of_process))
        # Earlier versions did not say it, and gave a sign as often.
        return of_types(Holder(process, body.get("seconds", LEASE_SECONDS)))


def progress_from_json(body: Mapping[str, Any]) -> Progress:
    """Return what a coordinator told about its search, but for what only a later version knows."""
    with decoding("the progress of a search"):
        every = [_known(WorkerSeen, one) for one in body.get("workers", ())]
        workers = tuple(of_types(WorkerSeen(**one)) for one in every)
        return of_types(Progress(**{**_known(Progress, body), "workers": workers}))


def _known(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: body[field.name] for field in fields(kind) if field.name in body}


def wish_of(word: str) -> Wish:
    """Return what the coordinator of a study is asked to do."""
    with decoding("the wish for a search"):
        return _WISHES[word]


def stints_to_json(stints: Iterable[Stint]) -> dict[str, list[str]] | None:
    """Return when each worker began and ended; None where there is none."""
    found = {readable(one.worker): [one.began.isoformat(), one.ended.isoformat()] for one in stints}
    return found or None


def stints_from_json(body: Mapping[str, Any] | None) -> tuple[Stint, ...]:
    """Return the stints of an attempt; none where none are known."""
    with decoding("the workers of an attempt"):
        return tuple(
            Stint(worker, datetime.fromisoformat(began), datetime.fromisoformat(ended))
            for worker, (began, ended) in (body or {}).items()
        )


def plug_in_to_json(plug_in: PlugIn) -> dict[str, Any]:
    """Return name and parameters."""
    return {"name": plug_in.name, "params": dict(plug_in.params)}


def target_to_json(target: Target | None) -> dict[str, Any] | None:
    """Return the fields of the model that a schedule was made for."""
    return None if target is None else asdict(target)


def target_from_json(body: Mapping[str, Any]) -> Target:
    """Return the model that a schedule was made for."""
    with decoding("the model of a schedule"):
        return of_types(Target(**body))


def schedule_from_json(
    keep: list[float], ranker: Mapping[str, Any], target: Mapping[str, Any] | None
) -> Schedule:
    """Return the schedule of a trial."""
    with decoding("a schedule"):
        return _schedule(keep, ranker, target)


def _schedule(
    keep: list[float], ranker: Mapping[str, Any], target: Mapping[str, Any] | None
) -> Schedule:
    made_for = None if target is None else target_from_json(target)
    return Schedule(tuple(keep), _ranker(**ranker), made_for)


def _ranker(name: str, params: Mapping[str, ParamValue]) -> RankerSpec:
    # Thousands of schedules share a ranker or two.
    return _same_ranker(name, tuple(params.items()))


_same_ranker = lru_cache(maxsize=64)(RankerSpec)


def trial_from_row(row: Iterable[Any]) -> Trial:
    """Return a trial from what `schedsearch.store.trials.rows_of` selects."""
    number, keep, ranker, target, params, state, reason, samples, read, *rest = row
    what = "a schedule"
    try:  # not `decoding`, which would take as long as all the rest of a row
        schedule = _schedule(keep, ranker, target)
        what = f"trial {number}"
        chosen = params_to_json(params)
        measured = rest[: len(MEASURED)]
        measurement = measurement_from_columns(*measured)
        expected = measured[_DROP] if state == TrialState.SCREENED else None
        return Trial(
            number,
            chosen,
            schedule,
            _STATES[state],
            measurement,
            reason,
            samples,
            read,
            expected,
        )
    except _UNREADABLE as error:
        raise DamagedCell(f"{what} cannot be read: {error}") from error


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


def measurement_from_columns(
    score: float | None,
    standard_error: float | None,
    n: int | None,
    flops_ratio: float | None,
    kv_ratio: float | None,
    *drops: float | None,
) -> Measurement | None:
    """Return the measurement of a trial's row, None where it has none; in the order of `MEASURED`.

    Raises:
        ValueError: A part of it is missing.
    """
    if score is None:
        return None
    if n is None or flops_ratio is None or kv_ratio is None:
        missing = "n" if n is None else "flops_ratio" if flops_ratio is None else "kv_ratio"
        raise ValueError(f"`{missing}` is missing")
    return Measurement(score, standard_error, n, flops_ratio, kv_ratio, *drops)


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


def of_types(value: T) -> T:
    """Return a dataclass after a look at its fields, which JSON may have given any type."""
    made: Any = type(value)
    for name, kind in _types(made).items():
        if not isinstance(getattr(value, name), kind):
            raise TypeError(f"`{name}` must not be {getattr(value, name)!r}")
    return value


@cache
def _types(kind: Hashable) -> dict[str, Any]:
    return {
        name: str if origin is Literal else origin if origin in (Mapping, tuple) else hint
        for name, hint in get_type_hints(kind).items()
        for origin in [get_origin(hint)]
    }


def _param(name: str, value: object) -> ParamValue:
    if value.__class__ is str or (value.__class__ is float and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and is_number(value):
        return int(value)
    if is_number(value) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise InputError(
        f"parameter `{name}` of a trial must be a finite number or a text, but got {value!r}; "
        f"correct the sampler"
    )
