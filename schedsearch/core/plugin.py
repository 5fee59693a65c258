"""Plug-ins by name: how a value refers to a ranker, a family or a sampler without importing it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from schedsearch.core.shown import shown
from schedsearch.errors import InputError

ParamValue = float | int | str


@dataclass(frozen=True)
class PlugIn:
    """A registered name and the parameters that differ from its defaults.

    Attributes:
        name: The name under which it is registered.
        params: Pairs of name and value, kept sorted by name, so that order means nothing.
    """

    name: str
    params: tuple[tuple[str, ParamValue], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(
                f"a plug-in needs a name, but got {shown(self.name)}; give a registered one"
            )
        pairs = tuple(sorted((key, self._canonical(key, value)) for key, value in self.params))
        for (one, _), (two, _) in zip(pairs, pairs[1:], strict=False):
            if one == two:
                raise InputError(f"parameter `{one}` of `{self.name}` is given twice; remove one")
        object.__setattr__(self, "params", pairs)

    @classmethod
    def from_mapping(cls, name: str, params: Mapping[str, ParamValue]) -> Self:
        """Return the plug-in with parameters given as a mapping."""
        return cls(name, tuple(params.items()))

    def param(self, name: str, default: ParamValue) -> ParamValue:
        """Return the parameter's value, or `default` where it is not set."""
        return dict(self.params).get(name, default)

    @property
    def words(self) -> str:
        """Name and parameters, for people."""
        params = ", ".join(f"{name} = {value}" for name, value in self.params)
        return f"{self.name} ({params})" if params else self.name

    def _canonical(self, name: str, value: object) -> ParamValue:
        """Return `value` such that equal parameters are also written equally: 2.0 becomes 2."""
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return value
        if not isinstance(value, float) or not math.isfinite(value):
            raise InputError(
                f"parameter `{name}` of `{self.name}` must be a finite number or a text, but got "
                f"{shown(value)}; correct it"
            )
        return int(value) if value.is_integer() else value
