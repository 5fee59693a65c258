"""Search spaces: which parameters a family takes, and between which bounds."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schedsearch.core.canonical import is_number
from schedsearch.errors import InputError


@dataclass(frozen=True)
class Parameter:
    """A number to choose, both bounds included."""

    name: str
    low: float
    high: float
    integer: bool = False

    def check(self, value: Any) -> float:
        """Return the value as a plain number.

        Raises:
            InputError: It is not a number, not an integer where one is needed, or out of bounds.
        """
        if (
            not is_number(value)
            or not self.low <= value <= self.high
            or (self.integer and value % 1)
        ):
            kind = "an integer" if self.integer else "a number"
            raise InputError(
                f"`{self.name}` must be {kind} in [{self.low:g}, {self.high:g}], but got "
                f"{value!r}; choose one inside"
            )
        return int(value) if self.integer else float(value)


@dataclass(frozen=True)
class Space:
    """The parameters of a family, in the order in which samplers see them."""

    parameters: tuple[Parameter, ...]

    def __getitem__(self, name: str) -> Parameter:
        return {parameter.name: parameter for parameter in self.parameters}[name]

    def check(self, params: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters in order, each within its bounds.

        Raises:
            InputError: One is missing, unknown or out of bounds; the message names it.
        """
        names = [parameter.name for parameter in self.parameters]
        for name in params:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1) or [", ".join(names)]
                raise InputError(f"`{name}` is not a parameter here; did you mean {near[0]}?")
        for name in names:
            if name not in params:
                raise InputError(f"`{name}` is missing; give it a value")
        return {
            parameter.name: parameter.check(params[parameter.name]) for parameter in self.parameters
        }
