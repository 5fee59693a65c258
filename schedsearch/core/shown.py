"""Values as messages quote them: short, however long the value is."""

import reprlib

_LONGEST = 120
"""Characters of a text or of a number."""


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out more than some thousand digits, and nobody would read them.
        digits = round(x.bit_length() * 0.30103)
        return super().repr_int(x, level) if digits < _LONGEST else f"a number of {digits} digits"


_shown = _Shown()


def shown(value: object) -> str:
    """Return `repr(value)`, with the middle or the end left out where it is long."""
    return _shown.repr(value)
