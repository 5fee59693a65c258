"""Sections of study files: strict models, and the kinds of values that their keys take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from schedsearch.core.registry import Registry
from schedsearch.errors import InputError

Text = Annotated[str, Field(min_length=1)]
GREATEST = 2**31 - 1
"""Of all whole numbers that are no seed: what a database takes."""
GREATEST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""

Count = Annotated[int, Field(ge=1, le=GREATEST)]
Tokens = Annotated[int, Field(ge=0, le=GREATEST)]
Layer = Annotated[int, Field(ge=0, le=GREATEST)]
Params = dict[str, int | float | str]
"""Parameters of something that has a name."""


class Section(BaseModel):
    """A part of a study file: strict, and without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class NameIn:
    """Says of a text that it must be a name of a registry."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the name once it is a text."""
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Mapping[str, Any]:
        """Show the names that come with schedsearch."""
        return {**handler(schema), "enum": list(self.registry.built_in)}

    def _known(self, name: str) -> str:
        try:
            return self.registry.check(name, "it")
        except InputError:
            problem = "must be one of {names}"
            names = {"names": ", ".join(self.registry)}
            raise PydanticCustomError("name", problem, names) from None
