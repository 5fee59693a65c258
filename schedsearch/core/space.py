"""Search spaces: which parameters a family takes, and between which bounds."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schedsearch.core.canonical import is_number
from schedsearch.core.shown import shown
from schedsearch.errors import InputError


@dataclass(frozen=True)
class Parameter:
    """A number to choose, both bounds included.

    Attributes:
        name: What samplers and studies call it.
        low: Least value.
        high: Greatest value.
        integer: Only whole numbers.
        log: Factors count, not differences; `low` is above 0.
    """

    name: str
    low: float
    high: float
    integer: bool = False
    log: bool = False

    def at(self, share: float) -> float:
        """Return the value `share` of the way from `low` (0) to `high` (1); integers share evenly.

        It never falls when `share` grows.
        """
        if self.integer:
            return min(int(self.high), int(self.low + share * (self.high + 1 - self.low)))
        if self.log:
            value = math.exp((1 - share) * math.log(self.low) + share * math.log(self.high))
        else:
            value = self.low + share * (self.high - self.low)
        return min(self.high, max(self.low, value))

    def share(self, value: float) -> float:
        """Return where between the bounds a value lies: 0 to 1, so that `at` returns the value.

        An integer lies in the middle of its part.
        """
        if self.integer:
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        if self.low == self.high:
            return 0.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def check(self, value: Any) -> float:
        """Return the value as a plain number.

        Raises:
            InputError: It is not a number, not an integer where one is needed, or out of bounds.
        """
        if value.__class__ is float and self.low <= value <= self.high and not self.integer:
            return value
        if (
            not is_number(value)
            or not self.low <= value <= self.high
            or (self.integer and value % 1)
        ):
            kind = "an integer" if self.integer else "a number"
            raise InputError(
                f"`{self.name}` must be {kind} in [{self.low:g}, {self.high:g}], but got "
                f"{shown(value)}; choose one inside"
            )
        return int(value) if self.integer else float(value)


@dataclass(frozen=True)
class Space:
    """The parameters of a family, in the order in which samplers see them."""

    parameters: tuple[Parameter, ...]

    def __getitem__(self, name: str) -> Parameter:
        return {parameter.name: parameter for parameter in self.parameters}[name]

    @cached_property
    def _names(self) -> list[str]:
        return [parameter.name for parameter in self.parameters]

    def check(self, params: Mapping[str, float]) -> dict[str, float]:
        """Return the parameters in order, each within its bounds.

        Raises:
            InputError: One is missing, unknown or out of bounds; the message names it.
        """
        names = self._names
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
