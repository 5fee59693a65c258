"""The chain of schedules that a certificate tests: from mild to the one that a search has found."""

import math
from dataclasses import replace

from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError

# Of the way, after a share of the links; 1 spaces them evenly. A search that believed too much has
# gone only a little too far, so the links lie closer together where the way ends.
_CROWDING = 0.25


def chain(found: Schedule, n_max: int, links: int) -> list[Schedule]:
    """Return schedules between keep-all and `found`, each cheaper than the one before.

    Every layer goes from `n_max` to its count by equal factors (of count + 1), not by equal
    differences: what samples need differs by factors, and a difference that shallow layers hardly
    notice would cost deep ones several times their count. The last link is `found` itself. Nothing
    but `found` decides, so the order is fixed before a sample of the certificate is read.

    Args:
        found: The last link.
        n_max: The most vision tokens of a sample; the others are multiples of 1 / n_max.
        links: The most schedules that are returned, fewer where the grid is too coarse.

    Raises:
        InputError: `links` or `n_max` is not positive.
    """
    for name, value in (("n_max", n_max), ("links", links)):
        if value < 1:
            raise InputError(f"`{name}` must be at least 1, but got {value}; raise it")
    counts, schedules = found.counts(n_max), list[Schedule]()
    for link in range(1, links):
        way = (link / links) ** _CROWDING
        kept = tuple(
            min(n_max, math.ceil((n_max + 1) ** (1 - way) * (count + 1) ** way - 1 - 1e-9)) / n_max
            for count in counts
        )
        last = schedules[-1].keep if schedules else (1.0,) * found.layers
        if kept != last and kept != found.keep:
            schedules.append(replace(found, keep=kept))
    return [*schedules, found]
