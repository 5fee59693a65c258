"""What counts as a number or an object, and one way to turn values into bytes and digests."""

import hashlib
import json
from collections.abc import Sequence
from numbers import Real
from typing import Any

from schedsearch.errors import InputError


def is_number(value: object) -> bool:
    """Say whether `value` is a real number, NumPy's included; True and False are none."""
    # Asking the abstract class takes as long as ten plain questions.
    return isinstance(value, float) or (isinstance(value, Real) and not isinstance(value, bool))


def whole_number(text: str) -> int:
    """Return the whole number that a file states; for `parse_int` of `json.loads`, and for YAML.

    Raises:
        InputError: It is too great for a float, and nothing here is counted so far.
        ValueError: It is no whole number.
    """
    try:
        value = int(text)
        float(value)
    except OverflowError:
        pass
    except ValueError:
        if not text.removeprefix("-").isdecimal():
            raise
    else:
        return value
    raise InputError(
        f"numbers must be finite, but got one of {len(text)} digits; correct or remove it"
    )


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object; for `object_pairs_hook` of `json.loads`.

    Raises:
        InputError: A key appears twice, and the last would stand in silence for all.
    """
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise InputError(f"`{key:.200}` appears twice in one object; remove one of them")
        content[key] = value
    return content


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value that JSON can express.

    Keys are sorted and floats are written by `repr`, the shortest text that reads back to the
    same double, so the result depends on neither the platform nor the order of insertion.

    Raises:
        ValueError: The value contains a NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
