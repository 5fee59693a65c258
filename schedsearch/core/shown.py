"""Values as messages quote them: readable, and short however long the value is."""

import re
import reprlib

_LONGEST = 120
"""Characters of a text or of a number."""

_ESCAPED = re.compile(r"\\\\|\\udc(?P<byte>[89a-f][0-9a-f])")
"""In what `repr` returns: a backslash, or a byte that is no text."""

_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""A surrogate that stands for no byte."""


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = _LONGEST

    def repr_str(self, x: str, level: int) -> str:
        if _only_escapes(x):
            x = x.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
            return _ESCAPED.sub(_byte, super().repr_str(x, level))
        return super().repr_str(x, level)

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out more than some thousand digits, and nobody would read them.
        digits = round(x.bit_length() * 0.30103)
        return super().repr_int(x, level) if digits < _LONGEST else f"a number of {digits} digits"


_shown = _Shown()


def readable(text: str) -> str:
    r"""The text with bytes of a file name that are no text as `\x80`; UTF-8 is shown as such.

    Python reads a byte that its encoding does not know as a lone surrogate, which no encoding can
    write again.
    """
    raw = text.encode("utf-8", "surrogateescape" if _only_escapes(text) else "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def shown(value: object) -> str:
    """Return `repr(value)`, with the middle or the end left out where it is long."""
    return _shown.repr(value)


def _only_escapes(text: str) -> bool:
    return _NO_BYTE.search(text) is None


def _byte(found: re.Match[str]) -> str:
    return found[0] if found["byte"] is None else f"\\x{found['byte']}"
