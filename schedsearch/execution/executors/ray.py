"""Evaluation by workers on a Ray cluster.

One thread has all that there is to know of the workers and their tasks. What the coordinator asks
of it, and what Ray tells of it, is done there one thing after the other; so workers that hang are
noticed and idle ones get work also while the coordinator thinks. Ray is transport: it neither
restarts nor retries anything.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Literal

import ray

from schedsearch.core.progress import WorkerSeen
from schedsearch.core.stint import Stint
from schedsearch.core.trial import Evaluated, Portion, Task
from schedsearch.errors import DeviceError, InputError, RunError, SchedsearchError
from schedsearch.execution.cluster.connection import connect, leave
from schedsearch.execution.cluster.crew import Crew, Member, cause, follow
from schedsearch.execution.cluster.host import Answer, Place
from schedsearch.execution.cluster.options import ClusterOptions
from schedsearch.execution.dispatch import Dispatch
from schedsearch.execution.executor import Outcome, Ticket, Worker
from schedsearch.execution.pace import Pace

log = logging.getLogger(__name__)

_OPENING = 1800.0
"""Seconds that a worker may take to load its model; then it hangs."""

_FROZEN = 5.0
"""Seconds after which this process was frozen, where it should have looked at its workers."""

_FORGIVEN = 30.0
"""Seconds after that in which workers that end are not blamed for it."""

_SHOWN = 300
"""Characters of what others say."""

_PATIENCE = 30.0
"""Seconds that a cluster which does not answer may hold up whoever leaves it."""

_LOOK = 1.0
"""Seconds between notes of who is there."""

_TICK = 0.5
"""Seconds after which deadlines and stragglers are looked at, where nothing happens."""


class RayExecutor:
    """A pool of workers on a Ray cluster, one actor each.

    Args:
        open_worker: Makes a worker; it travels to each node once, with all data that it holds.
        options: What the pool is made of.
        pace: What counts as late; for tests.

    Raises:
        RunError: The cluster cannot be joined.
        InputError: What opens a worker cannot travel.
    """

    def __init__(
        self,
        open_worker: Callable[[], Worker],
        options: ClusterOptions | None = None,
        pace: Pace | None = None,
    ) -> None:
        options = options or ClusterOptions()
        connect(options.address)
        try:
            opening = ray.put(open_worker)
        except BaseException as error:
            leave()
            if isinstance(error, TypeError):
                raise InputError(
                    f"a worker must be sent to its node, but got {_flat(error)}; define what it "
                    "holds in a module, without open files, locks and models"
                ) from None
            raise
        self._pool = _Pool(opening, options, pace or Pace())

    @property
    def slots(self) -> int:
        """Two tasks for each worker, so that none has to wait for the coordinator."""
        return 2 * self._pool.size

    def submit(self, ticket: Ticket, task: Task) -> None:
        """Queue a task."""
        self._pool.do(partial(self._pool.submit, ticket, task))

    def next(self) -> Outcome:
        """Wait for a task."""
        return self._pool.outcome()

    def cancel(self, tickets: Collection[Ticket]) -> None:
        """Hand these tasks out no more."""
        self._pool.do(partial(self._pool.cancel, tuple(tickets)))

    def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Return what a method of the first idle worker returns, or raise what it raises."""
        named.pop("on_progress", None)
        return self._asked(method, args, named)()

    def ask_each(self, method: str, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Have all idle workers answer, and yield what a method returns for each arguments."""
        for answer in [self._asked(method, args, {}) for args in calls]:
            yield answer()

    def _asked(
        self, method: str, args: Sequence[Any], named: Mapping[str, Any]
    ) -> Callable[[], Any]:
        """Ask, and return what waits for the answer."""
        question = _Question(method, args, named, SimpleQueue())
        self._pool.do(partial(self._pool.ask, question))

        def answer() -> Any:
            found = question.reply.get()
            if isinstance(found, Exception):
                raise found
            return found.value

        return answer

    def tell(self, method: str, *args: Any) -> None:
        """Call a method of all workers, also of those that join later."""
        self._pool.do(partial(self._pool.tell, method, ray.put(args)))

    def seen(self) -> tuple[WorkerSeen, ...]:
        """Workers as they were a moment ago."""
        return self._pool.seen

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        self._pool.close()
        leave()


@dataclass(eq=False)
class _Question:
    method: str
    args: Sequence[Any]
    named: Mapping[str, Any]
    reply: "SimpleQueue[Answer | Exception]"
    deaths: int = 0
    asked: float = 0.0


class _Pool:
    """All that is known of workers and tasks; but for the first part, of its own thread only."""

    def __init__(self, opening: Any, options: ClusterOptions, pace: Pace) -> None:
        self._opening = opening
        self._deaths = options.deaths
        self.seen: tuple[WorkerSeen, ...] = ()
        self._crew = Crew(options)
        self._dispatch = Dispatch(pace, options.deaths)
        self._todo: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._questions: deque[_Question] = deque()
        self._asked: dict[str, _Question] = {}
        self._evaluations = 0
        self._at_work: dict[str, int] = {}
        self._told: list[tuple[str, Any]] = []
        self._heard: set[str] = set()
        self._failure: BaseException | None = None
        self._identity: Mapping[str, Any] | None = None
        self._scored = False  # then whoever differs is refused alone
        self._tended = self._forgiving = time.monotonic()
        self._looked = float("-inf")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ray workers", daemon=True)
        self._thread.start()

    # For the coordinator

    @property
    def size(self) -> int:
        """Workers that are or will be."""
        return self._crew.target

    def do(self, action: Callable[[], None]) -> None:
        """Have something done in the thread of the pool."""
        self._todo.put(action)

    def outcome(self) -> Outcome:
        """Wait for a task, or raise why there are none any more."""
        found = self._outcomes.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """End all workers and the thread."""
        self._closed = True
        self.do(lambda: None)
        self._thread.join(_PATIENCE)

    # In the thread

    def _run(self) -> None:
        while not self._closed:
            try:
                if self._failure is None:
                    self._tend()
                self._act()
            except SchedsearchError as error:
                self._fail(error)
            except Exception as error:
                log.debug("what led to it", exc_info=error)
                said = f"{type(error).__name__}: {_flat(error)}"
                self._fail(RunError(f"the Ray cluster cannot be used ({said}); see to it"))
        for member in list(self._crew.members.values()):
            self._crew.dismiss(member)

    def _act(self) -> None:
        """Do what there is to do, at least one thing unless nothing happens for a while."""
        try:
            self._todo.get(timeout=_TICK)()
            while True:
                self._todo.get_nowait()()
        except Empty:
            return

    def _tend(self) -> None:
        now = time.monotonic()
        self._look(now)
        if now > self._tended + _FROZEN:
            self._shift(now - self._tended, now)
            self._forgiving = now + _FORGIVEN
        self._tended = now
        for member in self._crew.tend(now):
            self._call(member, "place", (), self._placed)
            self._call(member, "begin", (self._opening,), self._begun)
        for member in self._crew.surplus():
            member.released = True
            if member.ready:
                self._dispatch.release(member.name)
            else:
                self._crew.dismiss(member)
        for member in list(self._crew.members.values()):
            if member.released and self._dispatch.idle(member.name):
                self._dispatch.lose(member.name, "released", blamed=False)
                self._crew.dismiss(member)
        for member in [one for one in self._crew.members.values() if one.opening(now) > _OPENING]:
            self._lost(member, f"it was not open after {_OPENING:.0f} s", True)
        for name, question in list(self._asked.items()):
            if now > question.asked + _OPENING * 2.0**question.deaths:
                reason = f"it gave no answer to `{question.method}`"
                self._lost(self._crew.members[name], reason, True)
        for name, seconds in self._dispatch.overdue(now):
            self._lost(self._crew.members[name], f"it gave no answer for {seconds:.0f} s", True)
        while self._questions and (idle := self._dispatch.take_idle()):
            self._put(idle, self._questions.popleft())
        for name, _, task in self._dispatch.hand_out(now):
            member, then = self._crew.members[name], partial(self._evaluated, datetime.now(UTC))
            self._evaluations += 1
            self._at_work[name] = self._evaluations
            self._call(member, "evaluate", (self._evaluations, task), then)

    def _shift(self, seconds: float, now: float) -> None:
        """Forget time in which this process was frozen."""
        self._dispatch.shift(seconds)
        for question in self._asked.values():
            question.asked += seconds
        for member in self._crew.members.values():
            member.placed = min(now, member.placed + seconds)

    def _look(self, now: float) -> None:
        """Note who is there, for those who ask; often enough for people."""
        if now >= self._looked + _LOOK:
            self._looked = now
            self.seen = tuple(self._seen(one, now) for one in self._crew.members.values())

    def _seen(self, member: Member, now: float) -> WorkerSeen:
        place, silence = member.place, now - (member.heard or now)
        if place is None:
            return WorkerSeen("", 0, "waits", 0, 0, silence)
        if not member.ready:
            return WorkerSeen(place.name, place.pid, "opens", 0, 0, silence)
        samples, done = self._dispatch.work_of(member.name)
        state: Literal["idle", "works"] = "works" if samples else "idle"
        return WorkerSeen(place.name, place.pid, state, samples, done, silence)

    def submit(self, ticket: Ticket, task: Task) -> None:
        self._dispatch.submit(ticket, task, time.monotonic())
        if self._failure is not None:
            self._outcomes.put(self._failure)

    def cancel(self, tickets: Collection[Ticket]) -> None:
        self._dispatch.cancel(tickets)
        for name in [name for name in self._at_work if self._dispatch.cancelled(name)]:
            self._crew.members[name].actor.abandon.remote(self._at_work.pop(name))

    def ask(self, question: _Question) -> None:
        if isinstance(self._failure, Exception):
            question.reply.put(self._failure)
        else:
            self._questions.append(question)

    def tell(self, method: str, args: Any) -> None:
        self._told.append((method, args))
        for member in self._crew.members.values():
            if member.ready:
                self._call(member, "tell", (method, args), self._was_told)

    def _fail(self, error: Exception) -> None:
        """Nothing can go on: whoever waits is told."""
        self._failure = error
        self._outcomes.put(error)
        for question in (*self._questions, *self._asked.values()):
            question.reply.put(error)
        self._questions.clear()
        self._asked.clear()

    # What comes of calls

    def _call(self, member: Member, method: str, args: Sequence[Any], then: "_Then") -> None:
        ref = getattr(member.actor, method).remote(*args)

        def done(value: Any, error: Exception | None) -> None:
            self.do(partial(self._done, member, then, value, error))

        follow(ref, done)

    def _done(self, member: Member, then: "_Then", value: Any, error: Exception | None) -> None:
        if self._crew.members.get(member.name) is not member:
            return  # it is known to be gone
        if error is not None:
            self._lost(member, *cause(error))
            return
        member.heard = time.monotonic()
        if isinstance(value, Answer):
            self._listen(member, value)
            if member.ready and isinstance(value.error, DeviceError):
                self._lost(member, value.error.found, True)
                return
        then(member, value)

    def _placed(self, member: Member, place: Place) -> None:
        member.place, member.placed = place, time.monotonic()

    def _begun(self, member: Member, answer: Answer) -> None:
        refusal = _from(member, answer.error) if answer.error else self._differs(member, answer)
        if refusal is not None:
            others = any(one.ready for one in self._crew.members.values())
            if not others or not (answer.error or self._scored):
                raise refusal
            self._warn_once(f"{refusal}; the search goes on with other workers")
            self._crew.lost(member, time.monotonic(), str(refusal), blamed=False)
            return
        for method, args in self._told:
            self._call(member, "tell", (method, args), self._was_told)
        self._crew.opened(member)
        assert member.place is not None, "it was asked for first"
        self._dispatch.join(member.name, member.place.name)
        log.info("a worker on %s has joined", member.where)

    def _differs(self, member: Member, answer: Answer) -> RunError | None:
        """Why a worker's scores would not be those of the others, if that is so."""
        identity: Mapping[str, Any] = answer.value
        first = self._identity = self._identity or identity
        for name in sorted({*first, *identity}):
            if first.get(name) != identity.get(name):
                return RunError(
                    f"all workers must have the same {name}, but the one on {member.where} has "
                    f"{identity.get(name)} where others have {first.get(name)}; give all nodes the "
                    "same model, software and devices, or choose nodes by `resources`"
                )
        return None

    def _was_told(self, member: Member, answer: Answer) -> None:
        if answer.error is not None:
            raise _from(member, answer.error)

    def _evaluated(self, began: datetime, member: Member, answer: Answer) -> None:
        found = answer.value if answer.error is None else Evaluated(failure="defect")
        self._at_work.pop(member.name, None)
        needless = self._dispatch.cancelled(member.name)
        outcome = self._dispatch.ended(member.name, found, time.monotonic())
        self._scored |= answer.error is None
        if outcome is not None and not (needless and outcome.failure):
            if answer.error is None:
                assert member.place is not None, "it is open"
                stint = Stint.since(began, member.place.process)
                self._outcomes.put(replace(outcome, stint=stint))
            elif not needless:
                self._outcomes.put(answer.error)

    def _answered(self, member: Member, answer: Answer) -> None:
        self._dispatch.give_back(member.name)
        question = self._asked.pop(member.name)
        for read in question.args if answer.error is None else ():
            if isinstance(read, Portion):
                self._dispatch.has_read(member.name, read)
        question.reply.put(answer.error or answer)

    def _put(self, name: str, question: _Question) -> None:
        self._asked[name] = question
        question.asked = time.monotonic()
        call = (question.method, question.args, question.named)
        self._call(self._crew.members[name], "call", call, self._answered)

    def _lost(self, member: Member, reason: str, blamed: bool) -> None:
        said = f"a worker on {member.where} is gone: {reason}"
        if member.ready:
            log.warning("%s", said)
        else:
            self._warn_once(said)
        blamed = blamed and time.monotonic() > self._forgiving  # it may have missed our signs
        question = self._asked.get(member.name)
        if member.ready and (failed := self._dispatch.lose(member.name, reason, blamed)):
            self._outcomes.put(failed)
        self._crew.lost(member, time.monotonic(), reason, blamed)
        self._asked.pop(member.name, None)
        self._at_work.pop(member.name, None)
        if question is not None:
            question.deaths += blamed
            if question.deaths < self._deaths:
                self._questions.appendleft(question)
            else:
                question.reply.put(
                    RunError(
                        f"`{question.method}` has ended {question.deaths} workers, the last on "
                        f"{member.where}: {reason}; remove the cause and run again"
                    )
                )

    def _listen(self, member: Member, answer: Answer) -> None:
        """Say here what a worker said there, once for all workers of a node."""
        for level, text in answer.said:
            self._say_once(level, f"{member.where}: {text}")

    def _warn_once(self, text: str) -> None:
        self._say_once(logging.WARNING, text)

    def _say_once(self, level: int, text: str) -> None:
        if text not in self._heard:
            self._heard.add(text)
            log.log(level, "%s", text)


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN]


_Then = Callable[[Member, Any], None]


def _from(member: Member, error: Exception) -> Exception:
    """The error of a worker that could not be opened, with its place."""
    if not isinstance(error, SchedsearchError):
        return RunError(
            f"a worker on {member.where} failed: {type(error).__name__}: {_flat(error)}"
        )
    kind = InputError if isinstance(error, InputError) else RunError
    return kind(f"a worker on {member.where}: {error}")
