"""How well the assumption holds on which bisection rests."""

from collections.abc import Sequence
from typing import NamedTuple


class Nesting(NamedTuple):
    """How often a schedule was accepted although one that keeps more everywhere was not.

    Attributes:
        violations: Pairs in which the lower schedule was accepted and the upper one rejected.
        comparable: Pairs of different schedules of which one keeps at least as much in every
            layer as the other.
    """

    violations: int
    comparable: int


def count_violations(counts: Sequence[Sequence[int]], accepted: Sequence[bool]) -> Nesting:
    """Return the comparable pairs among different schedules, and those that violate nesting.

    Args:
        counts: Kept tokens per schedule and layer, shape (schedules, layers), rows all different.
        accepted: Whether the schedule was accepted, shape (schedules,).
    """
    import numpy as np  # not for those who only read what was searched

    table, verdicts = np.array(counts), np.array(accepted)
    violations = comparable = 0
    for row, lower_accepted in zip(table, verdicts, strict=True):
        above = (table >= row).all(axis=1)
        comparable += int(above.sum()) - 1  # every schedule is above itself
        if lower_accepted:
            violations += int((above & ~verdicts).sum())
    return Nesting(violations, comparable)
