"""The desk: an actor at which the coordinator leaves tasks, and Tune's trials fetch them."""

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from schedsearch.core.stint import Stint
from schedsearch.core.trial import Evaluated, Task
from schedsearch.execution.executor import Outcome, Ticket

_DEATHS = 3
"""A task that so many of Tune's trials have ended with is tried no more."""

Decided = Mapping[str, Any]
"""What Tune is told of a trial at its end."""


class Desk:
    """Tasks that wait, that are in somebody's hands, and what became of them."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._waiting: deque[tuple[Ticket, Task]] = deque()
        self._held: dict[Ticket, tuple[Task, str, datetime]] = {}
        self._deaths: Counter[Ticket] = Counter()
        self._outcomes: deque[Outcome] = deque()
        self._decided: dict[int, Decided] = {}
        self._closed = False

    # For the coordinator

    async def submit(self, ticket: Ticket, task: Task) -> None:
        """Leave a task."""
        async with self._changed:
            self._decided.pop(ticket.trial, None)
            self._waiting.append((ticket, task))
            self._changed.notify_all()

    async def cancel(self, tickets: Collection[Ticket]) -> None:
        """Take these tasks back, where nobody has them yet."""
        async with self._changed:
            self._waiting = deque(one for one in self._waiting if one[0] not in tickets)

    async def decide(self, trial: int, decided: Decided) -> None:
        """Let whoever works on a trial know that it is over."""
        async with self._changed:
            self._decided[trial] = decided
            self._changed.notify_all()

    async def close(self) -> None:
        """Send everybody home."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def outcome(self) -> Outcome:
        """Wait for what became of a task."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._outcomes)
            return self._outcomes.popleft()

    async def lost(self, who: str) -> None:
        """Give to others what somebody had who is gone."""
        async with self._changed:
            for ticket, (task, holder, _) in list(self._held.items()):
                if holder != who:
                    continue
                del self._held[ticket]
                self._deaths[ticket] += 1
                if self._deaths[ticket] < _DEATHS:
                    self._waiting.appendleft((ticket, task))
                else:
                    failure = f"{_DEATHS} of Tune's trials have ended while they evaluated it"
                    self._outcomes.append(Outcome(ticket, task, failure=failure))
            self._changed.notify_all()

    # For Tune's trials

    async def take(self, trial: int, who: str) -> tuple[Ticket, Task] | Decided:
        """Wait for a task, of this trial where there is one, or for the end of the trial.

        Whoever has nothing to do for its own trial helps another: its worker is open anyway.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._closed or trial in self._decided or self._waiting
            )
            if self._closed or trial in self._decided:
                return self._decided.get(trial, {})
            own = [one for one in self._waiting if one[0].trial == trial]
            ticket, task = found = (own or self._waiting)[0]
            self._waiting.remove(found)
            self._held[ticket] = task, who, datetime.now(UTC)
            return found

    async def give(self, ticket: Ticket, found: Evaluated) -> None:
        """Hand in what became of a task; only the first counts."""
        async with self._changed:
            if ticket in self._held:
                task, who, began = self._held.pop(ticket)
                stint = Stint.since(began, f"Tune's trial {who}")
                self._outcomes.append(
                    Outcome(ticket, task, found.scores, found.failure, found.work, stint)
                )
                self._changed.notify_all()
