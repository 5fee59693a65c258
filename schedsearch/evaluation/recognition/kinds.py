"""Kinds of objects, by what they mean for recognising them."""

import functools
from collections.abc import Iterator
from types import (
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any

PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(Ellipsis),
    type(NotImplemented),
)
"""What `repr` says everything about."""

CONTAINERS = (list, tuple, set, frozenset, dict)

DESCRIPTORS = (
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)

WRAPPERS = (
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    functools.partialmethod,
    functools.singledispatchmethod,
    type(functools.lru_cache(lambda: None)),
)
WRAPPED = ("__func__", "__wrapped__", "fget", "fset", "fdel", "func", "args", "keywords")
"""Where wrappers keep what they wrap."""

OUTSIDE_BUILTINS = ("__import__", "eval", "exec", "globals", "input", "open")
"""Builtins whose result no code shows."""

OUTSIDE_METHODS = ("import_module", "open", "read_bytes", "read_text", "urlopen")
"""Names of methods, whatever their object, whose result no code shows."""

CONSTRUCTORS = ("__init__", "__new__", "__post_init__", "__set_name__", "__init_subclass__")
"""They have run already; what they have read is in the object."""

_OUTSIDE = (
    "PIL.Image.open",
    "_sqlite3",
    "glob",
    "http.client",
    "httpx",
    "importlib.import_module",
    "linecache",
    "mmap",
    "numpy.fromfile",
    "numpy.lib._npyio_impl",
    "numpy.memmap",
    "os.getenv",
    "os.popen",
    "os.walk",
    "pandas.io",
    *(f"{system}.{name}" for system in ("posix", "nt") for name in ("listdir", "scandir", "stat")),
    *(f"{system}.system" for system in ("posix", "nt")),
    "pickle.load",
    "random",
    "requests",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "urllib.request",
    "uuid",
)

_OPAQUE = ("torch", "transformers", "numpy.random")
"""Packages whose objects are models, tensors or sources of chance."""

_NO_MEMBERS = (
    "__abstractmethods__",
    "__annotations__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__protocol_attrs__",
    "__qualname__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
    "_is_protocol",
)
"""What a class body leaves behind that decides nothing, or is said elsewhere."""


def plain(thing: Any) -> bool:
    """Whether `repr` says everything about a thing."""
    return type(thing) in PLAIN


def is_member(name: str) -> bool:
    """Whether a name in a class belongs to what its objects do."""
    return name not in _NO_MEMBERS


def slots(kind: type) -> Iterator[str]:
    """Names that a class and its bases keep outside of `__dict__`."""
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType) and not name.startswith("__"):
                yield name


def reaches_outside(module: str, name: str) -> bool:
    """Whether something of a module asks chance, the environment, or another process or host."""
    return any(f"{module}.{name}.".startswith(f"{one}.") for one in _OUTSIDE)


def is_opaque(kind: type) -> bool:
    """Whether objects of a class hold too much, or change by being used."""
    names = (f"{base.__module__}." for base in kind.__mro__)
    return any(name.startswith(f"{package}.") for name in names for package in _OPAQUE)


def holds_more(kind: type) -> bool:
    """Whether objects hold more than attributes: a class written in C is among the bases."""
    flags = (base.__flags__ for base in kind.__mro__ if base is not object)
    return any(not flag & _HEAP or flag & _IMMUTABLE for flag in flags)


# Py_TPFLAGS_HEAPTYPE and Py_TPFLAGS_IMMUTABLETYPE: a `class` statement sets the first alone.
_HEAP, _IMMUTABLE = 1 << 9, 1 << 8


def is_compiled(kind: type) -> bool:
    """Whether a class was written in another language, so that its code cannot be read."""
    flags = kind.__flags__
    return not flags & _HEAP or bool(flags & _IMMUTABLE) or not flags & _BASE


_BASE = 1 << 10  # Py_TPFLAGS_BASETYPE: whatever a `class` statement makes can be derived from
