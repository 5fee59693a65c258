"""From a callable to digests of everything that its result can depend on."""

import builtins
import copyreg
import enum
import functools
import importlib.util
import os
import random
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any

from schedsearch.core.canonical import digest
from schedsearch.evaluation.recognition import kinds
from schedsearch.evaluation.recognition.code import attributes, chains, content, imports
from schedsearch.evaluation.recognition.origin import OURS, release


@dataclass(frozen=True)
class Recognition:
    """What a callable consists of.

    Attributes:
        parts: Digest of each part by its path, such as `anls.normalise.MARKS`: functions, classes,
            globals, closures, defaults and attributes. Equal in every process for equal code and
            values; `python` is the version of the language.
        unknown: Paths of what cannot be recognised again, with the reason.
    """

    parts: Mapping[str, str]
    unknown: Mapping[str, str]


def recognise(thing: Any, name: str) -> Recognition:
    """Follow a callable, or an object, into all that it calls and holds.

    Code and values of the user are followed; what an installed release or Python brings is named.
    Order means nothing in sets and mappings. What files, the environment or another host say when
    it runs cannot be seen; where the code asks them by a name that tells, that is unknown.

    Args:
        thing: A function, a bound method, a `functools.partial`, or any object.
        name: The first part of all paths.
    """
    follower = _Follower()
    try:
        follower.part(thing, name)
    except RecursionError:
        follower.unknown[name] = "it is nested too deeply"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Recognition({"python": version, **follower.parts}, follower.unknown)


class _Follower:
    def __init__(self, seen: Mapping[int, str] | None = None) -> None:
        self.parts: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self._seen = dict(seen or {})
        self._kept: list[Any] = []  # a number in `_seen` must not be given to another object

    def part(self, thing: Any, path: str) -> None:
        """Note a thing that has a name of its own."""
        described = self.describe(thing, path)
        if described != ["see", path]:
            self.parts[path] = digest(described)[:16]

    def describe(self, thing: Any, path: str) -> Any:
        """Everything about a thing, as values that JSON can express."""
        if kinds.plain(thing):
            return [type(thing).__name__, repr(thing)]
        if id(thing) in self._seen:
            return ["see", self._seen[id(thing)]]
        self._seen[id(thing)] = path
        self._kept.append(thing)
        if type(thing) in kinds.CONTAINERS:
            # Only a container inside itself is a reference: equal values are equal, shared or not.
            try:
                return self._content(thing, path)
            finally:
                del self._seen[id(thing)]
        if isinstance(thing, type):
            return self._class(thing, path)
        if isinstance(thing, ModuleType):
            return self._module(thing, path)
        if isinstance(thing, enum.Enum):
            value = self.describe(thing.value, f"{path}.value")
            return ["enum", self.describe(type(thing), f"{path}.{type(thing).__name__}"), value]
        return self._callable(thing, path) or self._instance(thing, path)

    def _callable(self, thing: Any, path: str) -> Any:
        """Functions in all their forms; None for everything else."""
        if isinstance(thing, FunctionType):
            return self._function(thing, path)
        if isinstance(thing, MethodType):
            self.part(thing.__func__, f"{path}.{thing.__func__.__name__}")
            self.part(thing.__self__, f"{path}.self")
            return ["method", thing.__func__.__name__]
        if isinstance(thing, functools.partial):
            self.part(thing.func, f"{path}.func")
            for number, value in enumerate(thing.args):
                self.part(value, f"{path}.args[{number}]")
            self._parts(thing.keywords, f"{path}.")
            return ["partial", len(thing.args), sorted(thing.keywords)]
        if isinstance(thing, BuiltinFunctionType):
            return self._builtin(thing, path)
        if isinstance(thing, kinds.DESCRIPTORS):
            return ["descriptor", thing.__objclass__.__qualname__, thing.__name__]
        inside = [name for name in kinds.WRAPPED if getattr(thing, name, None) is not None]
        if isinstance(thing, kinds.WRAPPERS):
            for name in inside:
                self.part(getattr(thing, name), f"{path}.{name}")
            return ["wrapper", type(thing).__qualname__, inside]
        return None

    def _function(self, function: FunctionType, path: str) -> Any:
        module = str(function.__globals__.get("__name__"))
        brought = release(module)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                self.part(cell.cell_contents, f"{path}.{name}")
            except ValueError:  # a name that has no value yet
                self.parts[f"{path}.{name}"] = "empty"
        defaults = function.__defaults__ or ()
        if brought is not None:
            if function.__closure__:
                for number, value in enumerate(defaults):
                    self.part(value, f"{path}.default[{number}]")
            return ["function", *self._brought(brought, module, function, path)]
        code = function.__code__
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        self._parts(dict(zip(names, defaults, strict=True)), f"{path}.")
        self._parts(function.__kwdefaults__ or {}, f"{path}.")
        self._parts(vars(function), f"{path}.")
        if function.__name__ not in kinds.CONSTRUCTORS:
            for name in attributes(code).intersection(kinds.OUTSIDE_METHODS):
                self.unknown[f"{path}.{name}"] = f"it calls `{name}`, which reads what is not seen"
        for chain in chains(code):
            self._used(function, chain, path)
        for imported in imports(code):
            self._imported(function, *imported, path)
        self.parts[path] = digest(content(code, lambda value: self.describe(value, path)))[:16]
        return ["see", path]

    def _used(self, function: FunctionType, chain: tuple[str, ...], path: str) -> None:
        """Follow a global that a function reads, by way of modules to what it reads there."""
        name, *attributes = chain
        label = f"{path}.{name}"
        if name in function.__globals__:
            value = function.__globals__[name]
        elif hasattr(builtins, name):
            if name in kinds.OUTSIDE_BUILTINS and function.__name__ not in kinds.CONSTRUCTORS:
                self.unknown[label] = f"it calls `{name}`, which reads what is not seen"
            return
        else:
            self.parts[label] = "missing"
            return
        for attribute in attributes:
            if not isinstance(value, ModuleType) or not hasattr(value, attribute):
                break
            value, label = getattr(value, attribute), f"{label}.{attribute}"
        self.part(value, label)

    def _imported(
        self, function: FunctionType, name: str, level: int, names: Iterable[str], path: str
    ) -> None:
        """Follow what a function imports while it runs; it is imported now."""
        package = function.__globals__.get("__package__")
        label = f"{path}.{name}"
        try:
            full = importlib.util.resolve_name("." * level + name, package)
            module = importlib.import_module(full)
            taken = {each: _from(module, each) for each in names}
        except Exception as error:  # whatever a module raises when it is run
            self.unknown[label] = f"it cannot be imported: {error}"
            return
        if not names:
            self.part(module, label)
        self._parts(taken, f"{label}.")

    def _builtin(self, function: BuiltinFunctionType, path: str) -> Any:
        owner = function.__self__
        if owner is not None and not isinstance(owner, ModuleType):
            inside = self.describe(owner, f"{path}.self")
            return ["builtin method", function.__name__, inside]
        module = function.__module__ or getattr(owner, "__name__", "")
        brought = release(module)
        if brought is None:
            return self._compiled(module, path)
        return ["builtin", *self._brought(brought, module, function, path)]

    def _class(self, cls: type, path: str) -> Any:
        brought = release(cls.__module__)
        if brought is not None:
            return ["class", *self._brought(brought, cls.__module__, cls, path)]
        if kinds.is_compiled(cls):
            return self._compiled(cls.__module__, path)
        bases = [self.describe(base, f"{path}.{base.__name__}") for base in cls.__bases__]
        if issubclass(cls, enum.Enum):
            members = {name: member.value for name, member in cls.__members__.items()}
            methods = {n: v for n, v in vars(cls).items() if isinstance(v, FunctionType)}
            own = {**members, **{n: v for n, v in methods.items() if v.__module__ != "enum"}}
        else:
            own = {name: value for name, value in vars(cls).items() if kinds.is_member(name)}
        self._parts(own, f"{path}.")
        meta = self.describe(type(cls), f"{path}.{type(cls).__name__}")
        self.parts[path] = digest(["class", bases, meta, sorted(own)])[:16]
        return ["see", path]

    def _module(self, module: ModuleType, path: str) -> Any:
        """A module that is passed on whole: whatever it holds may be read."""
        brought = release(module.__name__)
        if brought is not None:
            return ["module", *self._brought(brought, module.__name__, None, path)]
        own = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        self._parts(own, f"{path}.")
        return ["module", sorted(own)]

    def _brought(self, brought: str, module: str, thing: Any, path: str) -> list[str]:
        """Name of what came with a release; schedsearch may move its own between modules."""
        name = thing.__qualname__ if thing is not None else ""
        if kinds.reaches_outside(module, name):
            self.unknown[path] = f"it asks `{module}{'.' if name else ''}{name}`"
        return [brought, "" if brought == OURS else module, name]

    def _instance(self, thing: Any, path: str) -> Any:
        kind = type(thing)
        if isinstance(thing, random.Random) or thing is os.environ or kinds.is_opaque(kind):
            return self._unknown(thing, path)
        module = getattr(thing, "__module__", None)
        if callable(thing) and kinds.is_compiled(kind) and release(kind.__module__) is None:
            # A function in all but name, such as Cython makes.
            brought = release(str(module))
            if brought is None:
                return self._compiled(str(module), path)
            return ["builtin", *self._brought(brought, str(module), thing, path)]
        own = self.describe(kind, f"{path}.{kind.__name__}")
        if release(kind.__module__) not in (None, OURS):
            return ["object", own, self._reduced(thing, path)]
        state = dict(getattr(thing, "__dict__", {}))
        for slot in kinds.slots(kind):
            if hasattr(thing, slot):
                state[slot] = getattr(thing, slot)
        self._parts(state, f"{path}.")
        held = None
        if isinstance(thing, (list, tuple, set, frozenset, dict)):
            held = self._content(thing, path)
        elif isinstance(thing, (int, float, complex, str, bytes)):
            basic: Any = next(base for base in kind.__mro__ if base in kinds.PLAIN)
            held = basic.__repr__(thing)
        elif kinds.holds_more(kind):
            held = self._reduced(thing, path)
        return ["object", own, sorted(state), held]

    def _reduced(self, thing: Any, path: str) -> Any:
        """What pickle would write of an object: enough to make an equal one."""
        if isinstance(thing, MappingProxyType):
            return self._content(dict(thing), path)
        try:
            own = copyreg.dispatch_table.get(type(thing))
            reduced = own(thing) if own is not None else thing.__reduce_ex__(4)
        except Exception:  # whatever an object says that cannot be pickled
            return self._unknown(thing, path)
        if isinstance(reduced, str):
            return ["global", reduced]
        self._kept.append(reduced)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        return [
            self.describe(make, path),
            self.describe(arguments, path),
            self.describe(state, path),
            None if items is None else self._content(list(items), path),
            None if pairs is None else self._content(dict(pairs), path),
        ]

    def _content(self, thing: Any, path: str) -> Any:
        """What a container holds; its order only where it has one."""
        kind = next(base for base in type(thing).__mro__ if base in kinds.CONTAINERS)
        if issubclass(kind, (list, tuple)):
            items = [self.describe(each, f"{path}[{n}]") for n, each in enumerate(list(thing))]
            return [kind.__name__, items]
        if issubclass(kind, dict):
            keyed = [(self._alone(key, f"{path} key"), key) for key in dict.keys(thing)]
            ordered = sorted(keyed, key=lambda pair: pair[0])
            pairs = [
                [known, self.describe(dict.__getitem__(thing, key), f"{path}[{key!r:.40}]")]
                for known, key in ordered
            ]
            return [kind.__name__, pairs]
        return [kind.__name__, sorted(self._alone(each, f"{path} member") for each in thing)]

    def _alone(self, thing: Any, path: str) -> str:
        """Digest of one of several things without an order: it must not depend on the others."""
        if kinds.plain(thing):
            return digest(self.describe(thing, path))
        follower = _Follower(self._seen)
        described = follower.describe(thing, path)
        self.unknown.update(follower.unknown)
        self._kept += follower._kept
        return digest([described, sorted(follower.parts.items())])

    def _parts(self, things: Mapping[str, Any], prefix: str) -> None:
        for name, thing in sorted(things.items(), key=lambda item: str(item[0])):
            self.part(thing, f"{prefix}{name}")

    def _compiled(self, module: str, path: str) -> Any:
        self.unknown[path] = f"it is compiled into `{module}`, whose code cannot be read"
        return ["unknown"]

    def _unknown(self, thing: Any, path: str) -> Any:
        self.unknown[path] = f"it is a {type(thing).__module__}.{type(thing).__qualname__}"
        return ["unknown"]


def _from(module: ModuleType, name: str) -> Any:
    """What `from module import name` gives."""
    if hasattr(module, name):
        return getattr(module, name)
    return importlib.import_module(f"{module.__name__}.{name}")
