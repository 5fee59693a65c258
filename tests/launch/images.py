"""Images by name: ours by the version of the package, all others by their digest."""

import re

from schedsearch.version import VERSION

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
OURS = (f"schedsearch:{VERSION}", f"schedsearch:{VERSION}-cuda")


def floating(image: str) -> bool:
    """Whether another image may stand behind the same name tomorrow."""
    return image not in OURS and not _DIGEST.search(image)
