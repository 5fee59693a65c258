"""The `search` section of a study file: settings of the sampler that it names."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from schedsearch.core.complaints import complaint, field_places
from schedsearch.errors import InputError
from schedsearch.samplers import SAMPLERS
from schedsearch.samplers.settings import SamplerSettings

_ACCEPTED = (
    "the greatest drop of the metric that {who}, such as 0.01; with n samples one lost answer "
    "weighs 1/n, and less than that accepts none"
)
MISSING: Mapping[str, str] = {
    "tolerance": _ACCEPTED.format(who="you accept"),
    "max_drop": _ACCEPTED.format(who="the result may have"),
    "search": "how to search, at least `search: {tolerance: 0.01}`",
}
"""What to add where a key has no default on purpose: nobody else can choose it."""


_FORMER = {"questions": "concurrent_trials"}
"""Names that keys had, and have now."""

log = logging.getLogger(__name__)


def settings_class(given: Any) -> type[SamplerSettings] | None:
    """Class of the settings that a section is for; G-Search's where it names no sampler."""
    name = given.get("sampler", "g-search") if isinstance(given, Mapping) else None
    return SAMPLERS[name] if isinstance(name, str) and name in SAMPLERS else None


def _settings(given: Any) -> SamplerSettings:
    """Settings as a file or a program gives them; those of one's own join by it."""
    if isinstance(given, SamplerSettings):
        SAMPLERS.register(given.sampler, type(given))
        return given
    section = settings_class(given)
    if section is None:
        problem = "must be settings whose `sampler` is one of {names}"
        raise PydanticCustomError("sampler", problem, {"names": ", ".join(SAMPLERS)})
    return section.model_validate(section.named(_renamed(given, section)))


def _renamed(given: Mapping[str, Any], section: type[SamplerSettings]) -> dict[str, Any]:
    """Settings with the present name of each key; one that has both names is left as it is."""
    settings = dict(given)
    for former, name in _FORMER.items():
        if former in settings and name not in settings and name in section.model_fields:
            log.warning("`%s` in the settings of a search is called `%s` now", former, name)
            settings[name] = settings.pop(former)
    return settings


SearchConfig = Annotated[
    SamplerSettings, PlainValidator(_settings), WithJsonSchema({"type": "object"})
]


def parse_search(given: SamplerSettings | Mapping[str, Any] | None) -> SamplerSettings:
    """Settings of a search as a program writes them, checked like a study file's.

    Raises:
        InputError: They are no settings of any search; the message names what is wrong.
    """
    if given is not None and not isinstance(given, SamplerSettings | Mapping):
        raise InputError(
            f"`sampler` must be settings of a search such as {{'tolerance': 0.01}}, but got "
            f"{type(given).__name__}"
        )
    try:
        return _settings({} if given is None else given)
    except ValidationError as error:
        section = cast(type[SamplerSettings], settings_class(given or {}))
        raise InputError(f"`sampler`: {settings_complaint(error, section)}") from None
    except PydanticCustomError as error:
        raise InputError(f"`sampler`: {error.message()}; name one of them") from None


def settings_complaint(error: ValidationError, section: type[SamplerSettings]) -> str:
    """What is wrong with settings."""
    names = field_places(section)
    unknown = f"is no setting of this search; {{hint}}allowed: {', '.join(sorted(names))}"
    return complaint(error, unknown, names, BRANCHES, MISSING)


BRANCHES = ("constrained-str", "LatencyModel", "list[constrained-int]", "literal['attention']")
"""What pydantic calls the kinds of value between which a setting chooses."""
