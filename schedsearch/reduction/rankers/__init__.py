"""Rankers by name: the one place that maps names to classes."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from schedsearch.core.registry import Registry
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.shown import shown
from schedsearch.errors import InputError, ScheduleError

if TYPE_CHECKING:
    from schedsearch.reduction.rankers.base import Ranker

RANKERS: "Registry[Callable[..., Ranker]]" = Registry(
    "ranker",
    {
        "last": "schedsearch.reduction.rankers.last:LastRanker",
        "text": "schedsearch.reduction.rankers.text:TextRanker",
        "random": "schedsearch.reduction.rankers.random:RandomRanker",
        "uniform": "schedsearch.reduction.rankers.uniform:UniformRanker",
        "local": "schedsearch.reduction.rankers.local:LocalRanker",
        "diverse": "schedsearch.reduction.rankers.diverse:DiverseRanker",
        "tower": "schedsearch.reduction.rankers.tower:TowerRanker",
    },
)
register_ranker = RANKERS.register


def make_ranker(spec: RankerSpec) -> "Ranker":
    """Ranker that a schedule names.

    Raises:
        ScheduleError: Unknown name or parameter.
    """
    try:
        ranker = RANKERS[RANKERS.check(spec.name, "`ranker.name`")]
    except InputError as error:
        raise ScheduleError(str(error)) from None
    try:
        return ranker(**dict(spec.params))
    except TypeError as error:
        raise ScheduleError(f"`ranker.params` of {shown(spec.name)} do not fit: {error}") from None


def spec_of(ranker: "Ranker") -> RankerSpec:
    """Name and parameters of a ranker; one that is not registered is, under its `name`.

    Raises:
        InputError: It has no name, or does not keep a parameter as the attribute of that name.
    """
    made: type[Ranker] = type(ranker)
    name = RANKERS.name_of(made)
    if name is None and (name := getattr(ranker, "name", None)) is None:
        raise InputError(
            f"the ranker {made.__name__} is not registered and has no `name`, so no schedule could "
            f"name it; call `schedsearch.register_ranker` with it, or give the class a `name`"
        )
    RANKERS.register(name, made)
    given = inspect.signature(made).parameters
    if lacking := [one for one in given if not hasattr(ranker, one)]:
        raise InputError(
            f"ranker `{name}` does not keep its parameter `{lacking[0]}` as an attribute, so "
            f"nothing can say what it is; keep it, or pass a `schedsearch.RankerSpec`"
        )
    return RankerSpec.from_mapping(str(name), {one: getattr(ranker, one) for one in given})
