"""Which worker does what: the one place where retries, deadlines and poison are decided.

It starts nothing and waits for nothing: whoever has workers tells what became of them, and is told
what to hand to whom.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from schedsearch.core.sample import Grid, Split
from schedsearch.core.trial import Evaluated, Portion, Task
from schedsearch.execution.executor import Outcome, Ticket
from schedsearch.execution.pace import Pace

_MOST_NODES = 10
"""Nodes that may be lost under a task before it is suspected of taking them down."""

_AT_MOST = 2
"""Workers that a task is at work on at once."""


@dataclass(frozen=True)
class Death:
    """How a task lost its worker.

    Attributes:
        node: Where that was.
        reason: What is known of it.
        blamed: Whether the task may be the reason, as it is not where the whole node went.
    """

    node: str
    reason: str
    blamed: bool


@dataclass(eq=False)
class _Job:
    ticket: Ticket
    task: Task
    portion: Portion
    asked: float
    reader: str
    cancelled: bool = False
    begun: dict[str, float] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    late: int = 0

    @property
    def samples(self) -> int:
        return len(self.task.sample_ids)

    @property
    def blamed(self) -> int:
        """How many workers it may have ended, or that were too small for it."""
        return sum(death.blamed for death in self.deaths)


@dataclass(eq=False)
class _Worker:
    node: str
    job: _Job | None = None
    done: int = 0
    leaving: bool = False
    held: bool = False

    @property
    def free(self) -> bool:
        return self.job is None and not self.held and not self.leaving


class Dispatch:
    """Hands tasks to workers.

    The same samples go to the same worker while it lives, unless they would wait there for long;
    new ones to the worker that has read them, where it has nothing else to do. Of several tasks
    that could go to a worker the one goes that was submitted first. When nothing waits, what
    another worker is late with is handed out once more, and the first answer counts.

    Args:
        pace: How long tasks take.
        deaths: How many times a task may kill its worker; then it is poison, and fails.
    """

    def __init__(self, pace: Pace, deaths: int = 3) -> None:
        self._pace = pace
        self._deaths = deaths
        self._workers: dict[str, _Worker] = {}
        self._queue: list[_Job] = []
        self._open: dict[Ticket, _Job] = {}
        self._homes: dict[Portion, str] = {}
        self._readers: dict[tuple[Split, Grid | None, str], str] = {}

    def submit(self, ticket: Ticket, task: Task, now: float) -> None:
        """Queue a task."""
        portion = task.portion
        job = self._open[ticket] = _Job(ticket, task, portion, now, self._reader_of(portion))
        self._queue.append(job)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Forget tasks; those at work are not handed out again."""
        for ticket in tickets:
            if job := self._open.get(ticket):
                job.cancelled = True
                if not job.begun:
                    del self._open[ticket]
        self._queue = [job for job in self._queue if not job.cancelled]

    def join(self, worker: str, node: str) -> None:
        """Take in a worker that is ready."""
        self._workers[worker] = _Worker(node)

    def release(self, worker: str) -> None:
        """Give a worker no further task."""
        self._workers[worker].leaving = True

    def has_read(self, worker: str, portion: Portion) -> None:
        """Note that a worker need not read these samples again."""
        for name in portion.sample_ids:
            self._readers[portion.split, portion.grid, name] = worker

    def idle(self, worker: str) -> bool:
        """Say whether a worker has nothing to do."""
        return self._workers[worker].job is None and not self._workers[worker].held

    def work_of(self, worker: str) -> tuple[int, int]:
        """Samples of the task that a worker is at, and how many tasks it has done."""
        one = self._workers[worker]
        return one.job.samples if one.job else 0, one.done

    def take_idle(self) -> str | None:
        """A worker that has nothing to do, which gets no task until it is given back."""
        for name, one in self._workers.items():
            if one.free:
                one.held = True
                return name
        return None

    def give_back(self, worker: str) -> None:
        """Have a worker for tasks again."""
        self._workers[worker].held = False

    def hand_out(self, now: float) -> Iterator[tuple[str, Ticket, Task]]:
        """Which worker is to begin which task now."""
        for take in (
            self._at_home,
            self._has_read,
            self._unread,
            self._new,
            self._waiting_long,
            self._straggler,
        ):
            for name in [name for name, one in self._workers.items() if one.free]:
                if job := take(name, now):
                    if job in self._queue:
                        self._queue.remove(job)
                        self._homes[job.portion] = name
                    yield self._begin(name, job, now)

    def ended(self, worker: str, found: Evaluated, now: float) -> Outcome | None:
        """What a worker answered, unless another one was faster, or is to try again.

        That is so once where memory was short: a neighbour on the same device may have had it.
        """
        one = self._workers[worker]
        job, one.job = one.job, None
        assert job is not None
        seconds = now - job.begun.pop(worker)
        if not found.failure:
            self._pace.learn(job.samples, seconds)
        one.done += 1
        if self._open.get(job.ticket) is not job:
            return None
        if found.short and len(self._workers) > 1 and not (job.cancelled or job.blamed):
            job.deaths.append(Death(one.node, found.failure, blamed=True))
            self._homes.pop(job.portion, None)
            if not job.begun:
                self._queue.insert(0, job)
            return None
        del self._open[job.ticket]
        if job in self._queue:
            self._queue.remove(job)
        return Outcome(job.ticket, job.task, found.scores, found.failure, found.work)

    def lose(self, worker: str, reason: str, blamed: bool) -> Outcome | None:
        """Go on without a worker.

        Args:
            worker: That is gone.
            reason: What is known of that.
            blamed: Whether its task may be the reason.

        Returns:
            The failure of its task, where that has killed too many.
        """
        one = self._workers.pop(worker)
        self._homes = {portion: home for portion, home in self._homes.items() if home != worker}
        job = one.job
        if job is None:
            return None
        del job.begun[worker]
        job.deaths.append(Death(one.node, reason, blamed))
        if self._open.get(job.ticket) is not job:
            return None
        if job.cancelled and not job.begun:
            del self._open[job.ticket]
            return None
        if not job.begun and self._poisonous(job):
            del self._open[job.ticket]
            return Outcome(job.ticket, job.task, failure=_epitaph(job.deaths))
        if not job.begun:
            self._queue.insert(0, job)  # it has waited longest
        return None

    def shift(self, seconds: float) -> None:
        """Forget time in which nobody could answer, as this process was frozen."""
        for name, one in self._workers.items():
            if one.job:
                one.job.begun[name] += seconds

    def cancelled(self, worker: str) -> bool:
        """Say whether nobody waits for what a worker does."""
        job = self._workers[worker].job
        return job is None or job.cancelled or self._open.get(job.ticket) is not job

    def overdue(self, now: float) -> list[tuple[str, float]]:
        """Workers that hang, each with the seconds that its task has been at work."""
        found = []
        for name, one in self._workers.items():
            if one.job is None:
                continue
            seconds = now - one.job.begun[name]
            deadline = self._pace.deadline(one.job.samples, one.job.late, first=one.done == 0)
            if seconds > deadline:
                one.job.late += 1
                found.append((name, seconds))
        return found

    # Who may take what

    def _at_home(self, name: str, _now: float) -> _Job | None:
        return self._first(name, lambda job: self._homes.get(job.portion) == name)

    def _has_read(self, name: str, _now: float) -> _Job | None:
        return self._first(name, lambda job: self._homeless(job) and self._reader(job) == name)

    def _unread(self, name: str, _now: float) -> _Job | None:
        return self._first(name, lambda job: self._homeless(job) and not self._reader(job))

    def _new(self, name: str, _now: float) -> _Job | None:
        return self._first(name, self._homeless)

    def _homeless(self, job: _Job) -> bool:
        return job.portion not in self._homes

    def _reader(self, job: _Job) -> str:
        return job.reader if job.reader in self._workers else ""

    def _reader_of(self, portion: Portion) -> str:
        """The worker that has read at least half of some samples; empty where none has."""
        split, grid, ids = portion
        read = Counter(self._readers.get((split, grid, one), "") for one in ids)
        del read[""]
        name, samples = next(iter(read.most_common(1)), ("", 0))
        return name if 2 * samples >= len(ids) else ""

    def _waiting_long(self, name: str, now: float) -> _Job | None:
        """The last of the longest line before another worker, or who has waited in vain."""
        lines: dict[str, list[_Job]] = {}
        for job in self._queue:
            if home := self._homes.get(job.portion):
                lines.setdefault(home, []).append(job)
        longest = max(lines.values(), key=len, default=[])
        if len(longest) > 1:
            return next((job for job in reversed(longest) if self._may(name, job)), None)
        return self._first(name, lambda job: now - job.asked > self._pace.expected(job.samples))

    def _straggler(self, _name: str, now: float) -> _Job | None:
        late = [
            job
            for job in self._open.values()
            if job.begun and len(job.begun) < _AT_MOST and not job.cancelled
            if not job.blamed
            if self._pace.straggles(job.samples, now - min(job.begun.values()))
        ]
        return min(late, key=lambda job: min(job.begun.values()), default=None)

    def _first(self, name: str, fits: Callable[[_Job], bool]) -> _Job | None:
        return next((job for job in self._queue if self._may(name, job) and fits(job)), None)

    def _may(self, name: str, job: _Job) -> bool:
        """A task that has killed a worker is tried on another node, where there is one."""
        fatal = {death.node for death in job.deaths if death.blamed}
        others = any(one.node not in fatal for one in self._workers.values() if not one.leaving)
        return not others or self._workers[name].node not in fatal

    def _begin(self, name: str, job: _Job, now: float) -> tuple[str, Ticket, Task]:
        self._workers[name].job = job
        job.begun[name] = now
        return name, job.ticket, job.task

    def _poisonous(self, job: _Job) -> bool:
        return job.blamed >= self._deaths or len(job.deaths) >= self._deaths + _MOST_NODES


def _epitaph(deaths: Collection[Death]) -> str:
    told = "; ".join(dict.fromkeys(f"{death.node}: {death.reason}" for death in deaths))
    return (
        f"its task has ended {len(deaths)} workers and is not tried again ({told}); look for what "
        "the samples of this schedule need, such as memory, and raise that"
    )
