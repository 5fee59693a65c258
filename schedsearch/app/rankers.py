"""Who orders the vision tokens, as study files and programs say it: one, several, or `auto`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import PlainValidator, TypeAdapter, WithJsonSchema
from pydantic_core import PydanticCustomError

from schedsearch.core.plugin import ParamValue
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.section import NameIn, Params, Section
from schedsearch.errors import InputError
from schedsearch.reduction.rankers import RANKERS

if TYPE_CHECKING:
    from schedsearch.reduction.rankers.base import Ranker

AUTO = "auto"
_BY_ATTENTION, _EARLY = ("last", "text", "local"), ("diverse", "uniform")


class RankerConfig(Section):
    """One of several rankers.

    Attributes:
        name: Of the ranker.
        params: Its parameters, where they differ from the defaults.
    """

    name: Annotated[str, NameIn(RANKERS)]
    params: Params = {}

    @property
    def spec(self) -> RankerSpec:
        """The ranker as schedules name it."""
        return RankerSpec.from_mapping(self.name, self.params)


def _rankers(given: Any) -> str | list[RankerConfig]:
    """A name, `auto`, or the entries of a list."""
    if isinstance(given, list):
        entries = [{"name": one} if isinstance(one, str) else one for one in given]
        found = TypeAdapter(list[RankerConfig]).validate_python(entries)
        if not found or len({one.spec for one in found}) < len(found):
            raise PydanticCustomError("rankers", "must name rankers, each once")
        return found
    if given != AUTO and not (isinstance(given, str) and given in RANKERS):
        names = {"names": ", ".join([*RANKERS, AUTO])}
        raise PydanticCustomError("name", "must be one of {names}, or a list of them", names)
    return cast(str, given)


RankersConfig = Annotated[
    str | list[RankerConfig],
    PlainValidator(_rankers),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*RANKERS.built_in, AUTO]},
                {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
            ]
        }
    ),
]


def rankers_of(
    given: "str | RankerSpec | Ranker | Sequence[str | RankerSpec | Ranker | RankerConfig]",
    params: Mapping[str, ParamValue],
    first: int,
) -> tuple[RankerSpec, ...]:
    """The rankers among which a search chooses, or the one that it has.

    Args:
        given: One, several, or `auto`: all that serve any model, but for the random one.
        params: Parameters of the one that is named.
        first: First layer that may process fewer vision tokens; before 1 no attention ranks.

    Raises:
        InputError: None is named, one is named twice, or parameters stand where several are.
    """
    if isinstance(given, str) and given != AUTO:
        return (RankerSpec.from_mapping(given, params),)
    if params:
        raise InputError(
            "`ranker_params` belong to a ranker that is named alone, but `ranker` has several; "
            "write them into the list, such as {name: local, params: {window: 2}}"
        )
    if given == AUTO:
        return tuple(map(RankerSpec, _EARLY if first == 0 else _BY_ATTENTION + _EARLY))
    several = given if isinstance(given, list | tuple) else [given]
    found = tuple(map(_spec, several))
    if not found or len(set(found)) < len(found):
        raise InputError(
            f"`ranker` must name rankers, each once, but got {len(found)} of which "
            f"{len(set(found))} differ; name every one once"
        )
    return found


def _spec(given: "str | RankerSpec | Ranker | RankerConfig") -> RankerSpec:
    if isinstance(given, str):
        return RankerSpec(given)
    if isinstance(given, RankerSpec):
        return given
    if isinstance(given, RankerConfig):
        return given.spec
    from schedsearch.reduction.rankers import spec_of

    return spec_of(given)
