"""Registries: the classes of one kind by name, each imported when it is first used.

What is built in is listed by place, so that names can be checked, and help can be printed, without
importing what they stand for. Others join by `register`, or from an installed package by an entry
point of the group `schedsearch.KIND`, such as `schedsearch.ranker`.
"""

import difflib
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from schedsearch.core.shown import shown
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(MutableMapping[str, T], Generic[T]):
    """Names of one kind and what they stand for.

    Args:
        kind: What they are, in the singular.
        places: `module:attribute` by name, of what is built in.
    """

    def __init__(self, kind: str, places: Mapping[str, str]) -> None:
        self.kind = kind
        self._places = dict(places)
        self._known: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._known:
            if name in self._places:
                module, _, attribute = self._places[name].partition(":")
                self._known[name] = getattr(import_module(module), attribute)
            elif name in self._installed:
                self._known[name] = self._load(self._installed[name])
            else:
                raise KeyError(name)
        return self._known[name]

    def __setitem__(self, name: str, made: T) -> None:
        self._known[name] = made

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._installed, *self._known]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._places or name in self._installed

    @property
    def built_in(self) -> tuple[str, ...]:
        """Names of what comes with schedsearch."""
        return tuple(self._places)

    def has_built_in(self, made: object) -> bool:
        """Say whether something comes with schedsearch under a name; imports nothing."""
        return _place(made) in self._places.values()

    def name_of(self, made: object) -> str | None:
        """Return the name of what is built in, installed, registered or in use; imports nothing."""
        installed = {name: point.value for name, point in self._installed.items()}
        named = {place: name for name, place in (installed | self._places).items()}
        used = (name for name, one in self._known.items() if one is made)
        return next(used, named.get(_place(made)))

    def register(self, name: str, made: T) -> T:
        """Add what a name stands for, for this process, and return it.

        Raises:
            InputError: The name is taken by something else, or is none.
        """
        if not isinstance(name, str) or not name:
            raise InputError(f"a {self.kind} needs a name, but got {shown(name)}; give it a text")
        if name in self and self[name] is not made:
            raise InputError(f"there is a {self.kind} `{name}` already; give yours another name")
        self[name] = made
        return made

    def check(self, name: object, where: str) -> str:
        """Return a name that is known.

        Args:
            name: What was given.
            where: What messages call its place.

        Raises:
            InputError: There is none of that name; the message has the nearest one.
        """
        if isinstance(name, str) and name in self:
            return name
        near = difflib.get_close_matches(str(name), list(self), n=1)
        hint = f"did you mean {near[0]}?" if near else "choose one of them"
        raise InputError(f"{where} must be one of {', '.join(self)}, but got {shown(name)}; {hint}")

    def make(self, name: str, params: Mapping[str, Any], where: str) -> Any:
        """Return what the class of that name makes of its parameters.

        Raises:
            InputError: Unknown name or parameter.
        """
        made: Any = self[self.check(name, where)]
        try:
            return made(**params)
        except TypeError as error:
            raise InputError(
                f"the parameters of {self.kind} `{name}` do not fit: {error}"
            ) from None

    @cached_property
    def _installed(self) -> "Mapping[str, EntryPoint]":
        from importlib.metadata import entry_points  # takes longer to load than all the rest here

        return {one.name: one for one in entry_points(group=f"schedsearch.{self.kind}")}

    def _load(self, point: "EntryPoint") -> T:
        try:
            found: T = point.load()
        except Exception as error:  # whatever importing somebody else's package leads to
            package = point.dist.name if point.dist else point.module
            raise InputError(
                f"the {self.kind} `{point.name}` of the package {package} cannot be loaded "
                f"({error}); mend or uninstall the package"
            ) from error
        return found


def _place(made: object) -> str:
    return f"{getattr(made, '__module__', '')}:{getattr(made, '__qualname__', '')}"
