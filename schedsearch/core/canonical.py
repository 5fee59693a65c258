"""What counts as a number, and one way to turn values into bytes and digests."""

import hashlib
import json
from numbers import Real
from typing import Any


def is_number(value: object) -> bool:
    """Say whether `value` is a real number, NumPy's included; True and False are none."""
    # Asking the abstract class takes as long as ten plain questions.
    return isinstance(value, float) or (isinstance(value, Real) and not isinstance(value, bool))


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value that JSON can express.

    Keys are sorted and floats are written by `repr`, the shortest text that reads back to the
    same double, so the result depends on neither the platform nor the order of insertion.

    Raises:
        ValueError: The value contains a NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
