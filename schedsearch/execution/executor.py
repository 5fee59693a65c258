"""What an executor is: where evaluation runs. It takes small tasks and gives back scores.

To add one: a class in its own file of `executors` and its line in EXECUTORS (`__init__.py` there),
which the tests of all executors read.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Protocol

from schedsearch.core.stint import Stint
from schedsearch.core.trial import Evaluated, SampleScore, Task, Work


class Worker(Protocol):
    """What evaluates.

    If its `evaluate` takes `on_progress`, to be called between batches, it may not come back from
    there: the task was cancelled. Of its other methods an executor knows the names alone, see
    `Executor.ask`.
    """

    def evaluate(self, task: Task) -> Evaluated:
        """Score the samples of a task; a `SchedsearchError` becomes the failure of the task.

        Raises:
            DeviceError: The worker is of no more use.
        """


class Ticket(NamedTuple):
    """Whose a task is; unique among the tasks at work.

    Attributes:
        trial: Number of the trial; -1 for what belongs to none.
        attempt: Number of the attempt at it.
        task: Number of the task within the attempt.
    """

    trial: int
    attempt: int
    task: int


TASK_NUMBERS = count()
"""Of all tasks of this process: what an executor still returns for one is taken for no other."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        ticket: Whose it was.
        task: What was asked.
        scores: In the order of the task; none where it failed.
        failure: Why there are none.
        work: What it has cost, in either case.
        stint: Whose answer this is, and when that worker was at it, without any time in a line
            before; None where that is not known.
    """

    ticket: Ticket
    task: Task
    scores: tuple[SampleScore, ...] = ()
    failure: str = ""
    work: Work = Work()
    stint: Stint | None = field(default=None, compare=False)


class Executor(Protocol):
    """A pool of workers, which evaluate tasks, several at a time where there are several.

    One whose workers are elsewhere may have a method `seen`, which any thread may call and which
    returns them as `WorkerSeen` for those who watch the search.
    """

    @property
    def slots(self) -> int:
        """How many tasks are worth submitting ahead of their results."""

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""

    def next(self) -> Outcome:
        """Wait for one of the submitted tasks, in whatever order; each is returned once.

        What a worker raises is a defect, or a device's failure where no other worker can take the
        task, and comes through: it says nothing about the schedule.
        """

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Forget these tasks; one that is being evaluated may still be returned."""

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Return what a method of one of the workers returns, or raise what it raises.

        An argument `on_progress` is called here, not there, or not at all.
        """

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Yield what a method of a worker returns for each of some arguments, in their order.

        Several workers answer at once; raises what any of them raises. A `Portion` among the
        arguments says which samples a worker has read then, and need not read again for a task.
        """

    def tell(self, method: str, *args: Any) -> None:
        """Call a method of all workers, also of those that join later."""

    def close(self) -> None:
        """Let the workers go, at any time and also twice; nothing is asked afterwards."""


def evaluated(
    executor: Executor,
    tasks: Sequence[Task],
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Evaluated]:
    """What becomes of some tasks, in their order.

    Args:
        executor: Evaluates them; nothing else may be at work.
        tasks: Which.
        on_progress: Called with the samples done, and all.
    """
    waiting, found = deque(enumerate(tasks)), dict[int, Evaluated]()
    flying, samples = dict[Ticket, int](), sum(len(task.sample_ids) for task in tasks)
    done = 0
    while len(found) < len(tasks):
        while waiting and len(flying) < executor.slots:
            number, task = waiting.popleft()
            ticket = Ticket(-1, 0, next(TASK_NUMBERS))
            flying[ticket] = number
            executor.submit(ticket, task)
        outcome = executor.next()
        if outcome.ticket not in flying:
            continue
        number = flying.pop(outcome.ticket)
        found[number] = Evaluated(outcome.scores, outcome.failure, outcome.work)
        done += len(outcome.task.sample_ids)
        on_progress(done, samples)
    return [found[number] for number in range(len(tasks))]
