"""Who worked when."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

_MOST = 64


@dataclass(frozen=True)
class Stint:
    """When a worker was at work for something.

    Attributes:
        worker: What people call it.
        began: When it got the first of that, by the coordinator's clock.
        ended: When it had done the last, by the same clock.
    """

    worker: str
    began: datetime
    ended: datetime

    def __post_init__(self) -> None:
        assert self.began.tzinfo is not None, "naive time"
        assert self.began <= self.ended, "it ended before it began"

    @classmethod
    def since(cls, began: datetime, worker: str) -> Self:
        """What has ended just now; also where the clock was set back meanwhile."""
        return cls(worker, began, max(began, datetime.now(UTC)))


def by_worker(stints: Iterable[Stint]) -> tuple[Stint, ...]:
    """One stint for each worker, from its first beginning to its last end.

    Those that began first come first, and of more than 64 workers the others are left out.
    """
    found: dict[str, Stint] = {}
    for one in stints:
        known = found.setdefault(one.worker, one)
        began, ended = min(known.began, one.began), max(known.ended, one.ended)
        found[one.worker] = replace(one, began=began, ended=ended)
    return tuple(sorted(found.values(), key=lambda one: (one.began, one.worker))[:_MOST])


def process_name(pid: int, host: str) -> str:
    """What people call a process."""
    return f"process {pid} on {host}"
