"""How long tasks take, and so which of them are late: Ray never notices a worker that hangs."""

from collections import deque

_REMEMBERED = 100
_MOST_DOUBLINGS = 10


class Pace:
    """Seconds per sample, as the latest tasks took them.

    What a worker has kept of a prefix makes tasks of the same size differ by several times, and
    its first task has to warm up. So tasks are measured against the slowest of late, not against
    the middle.

    Args:
        least: Seconds before which nothing is overdue.
        first: Seconds before which the first task of a worker is not overdue, nor any as long as
            nothing has been observed.
        factor: A task is overdue after so many times what the slowest of late took.
        straggling: A task is a straggler after so many times that.
    """

    def __init__(
        self,
        least: float = 60.0,
        first: float = 1800.0,
        factor: float = 10.0,
        straggling: float = 1.5,
    ) -> None:
        self._least = least
        self._first = first
        self._factor = factor
        self._straggling = straggling
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def learn(self, samples: int, seconds: float) -> None:
        """Note how long a task of so many samples took."""
        self._seconds.append(seconds / samples)

    def expected(self, samples: int) -> float:
        """Seconds that a task takes at most, going by those of late; infinite before the first."""
        return samples * max(self._seconds) if self._seconds else float("inf")

    def straggles(self, samples: int, seconds: float) -> bool:
        """Say whether a task that has been at work for so long is worth another worker."""
        return seconds > self._straggling * self.expected(samples)

    def deadline(self, samples: int, tries: int = 0, first: bool = False) -> float:
        """Seconds after which the worker of a task hangs.

        Args:
            samples: Of the task.
            tries: How many deadlines it has missed; each doubles the next.
            first: Whether it is its worker's first.
        """
        observed = self._factor * self.expected(samples) if self._seconds else 0.0
        least = self._first if first or not self._seconds else self._least
        return max(least, observed) * 2.0 ** min(tries, _MOST_DOUBLINGS)
