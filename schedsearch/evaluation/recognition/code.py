"""What a compiled function does, and which names it reads from outside of itself.

Compiled code, not source: it is what runs, whatever has become of the file since, and functions of
a prompt, a notebook or `exec` have it too. Comments, layout and docstrings are no part of it. It
differs between minor versions of Python.
"""

import dis
import hashlib
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

Chain = tuple[str, ...]
"""A global name, and the attributes that are read off it in one go."""

_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")


def content(code: CodeType, constant: Callable[[Any], Any]) -> list[Any]:
    """All that determines what the code does, as values that JSON can express.

    Args:
        code: Of a function, or of one inside it.
        constant: Describes a constant that is no code.
    """
    arguments = code.co_argcount + code.co_kwonlyargcount
    return [
        hashlib.sha256(code.co_code + code.co_exceptiontable).hexdigest(),
        [
            content(each, constant) if isinstance(each, CodeType) else constant(each)
            for each in _constants(code)
        ],
        list(code.co_names),
        list(code.co_freevars),
        list(code.co_varnames[:arguments]),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
    ]


def chains(code: CodeType) -> list[Chain]:
    """Globals that the code reads, those of functions inside it included, in a fixed order."""
    found = {chain for each in _inside(code) for chain in _chains(each)}
    return sorted(found)


def attributes(code: CodeType) -> set[str]:
    """Names of attributes and methods that the code reads, off whatever object."""
    instructions = (one for each in _inside(code) for one in dis.get_instructions(each))
    return {one.argval for one in instructions if one.opname in _ATTRIBUTE}


def imports(code: CodeType) -> list[tuple[str, int, Chain]]:
    """Modules that are imported when the code runs: name, level, and the names taken from them."""
    found = {one for each in _inside(code) for one in _imports(each)}
    return sorted(found)


def _inside(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _inside(each)


def _constants(code: CodeType) -> list[Any]:
    """Constants in their places; a docstring, which comes first and is never loaded, is None."""
    constants = list(code.co_consts)
    if constants and isinstance(constants[0], str):
        loads = (one for one in dis.get_instructions(code) if one.opcode in dis.hasconst)
        if all(one.arg != 0 for one in loads):
            constants[0] = None
    return constants


def _chains(code: CodeType) -> Iterator[Chain]:
    chain: Chain = ()
    for instruction in dis.get_instructions(code):
        if chain and instruction.opname in _ATTRIBUTE:
            chain += (instruction.argval,)
            continue
        if chain:
            yield chain
        chain = (instruction.argval,) if instruction.opname in _GLOBAL else ()
    if chain:
        yield chain


def _imports(code: CodeType) -> Iterator[tuple[str, int, Chain]]:
    before: list[Any] = [0, ()]
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, names = before
            yield instruction.argval, level, tuple(names or ())
        before = [before[1], instruction.argval]
