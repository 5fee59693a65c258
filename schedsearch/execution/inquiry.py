"""What is still to be evaluated of a schedule, part by part, and what has been read of it."""

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from math import ceil

from schedsearch.core.flops import SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import SampleScore, Task
from schedsearch.errors import RunError
from schedsearch.store.evaluations import Evaluation, EvaluationKey

Known = dict[EvaluationKey, Evaluation]
"""Scores by content and counts; of two for a key the first stays, as in the store."""


LEAST_TASK = 8
"""Fewer samples than this fill no processor; a part is divided no further."""

_ROUNDS = 4
"""Of tasks for each worker: enough that none waits long for the others at the end."""


class EvaluationError(RunError):
    """A schedule could not be evaluated; everything else works."""


@dataclass(frozen=True)
class Asked:
    """Which samples are asked, and how they are divided into tasks.

    Attributes:
        ids: The samples, in the order in which they are read.
        borders: Numbers of samples after which a part ends, ascending; the last is all of them.
        again: Samples that are evaluated although they are known, where another one of their task
            is not: the task keeps its samples, and a worker what it has for them.
        shared: As in `Task`.
        tasks: How many tasks are worked on at once. Parts are divided into equal tasks, as far as
            they are large enough, such that nobody is idle at the end. A part is read as a whole,
            so this says how soon that can be, and decides nothing.
        deciding: How many leading parts will probably decide. Where they are divided the others
            wait for them: a worker that is at one of those in vain is missing to the next trial.
            Elsewhere it would wait for whoever decides.
        beside: Tasks that are worked on together with the parts that decide; their scores are
            given before anything is read.
    """

    ids: Sequence[str]
    borders: Sequence[int]
    again: Collection[str] = ()
    shared: int = 0
    tasks: int = 1
    deciding: int = 0
    beside: Sequence[Task] = ()


class Inquiry:
    """Reads the scores of a schedule part by part, and says which tasks are missing for that.

    It evaluates and stores nothing: whoever drives it takes tasks off `wanted`, gives back what
    became of them in any order, and reads on as far as that goes. So where reading stops depends
    on the scores alone, never on which task was ready first.

    Args:
        subject: What is evaluated.
        schedule: Under which.
        asked: On which samples.
        known: Scores that need no task; what is taken joins them.

    Attributes:
        wanted: What is missing and at work nowhere, in the order in which it will be read; of the
            parts after those that decide once these have been read.
        scores: Of the samples read so far, in the order of the question.
    """

    def __init__(self, subject: Subject, schedule: Schedule, asked: Asked, known: Known) -> None:
        keys = subject.evaluation_keys(schedule, asked.ids)
        self.known = known
        self.scores: list[SampleScore] = []
        self._keys = dict(zip(asked.ids, keys, strict=True))
        # Samples of equal content stand for each other.
        self._first = {key: name for name, key in reversed(self._keys.items())}
        borders = asked.borders
        self._parts = [
            tuple(asked.ids[start:end]) for start, end in zip([0, *borders], borders, strict=False)
        ]
        tokens = {name: subject.tokens_of(name) for name in asked.ids} if asked.tasks > 1 else {}
        deciding = self._deciding = asked.deciding if asked.tasks > 1 else 0
        early, late = self._parts[:deciding], self._parts[deciding:]
        beside = len(asked.beside)
        rounds = ceil((beside + len(early)) / asked.tasks)
        counts = [
            *_allotted(early, rounds * asked.tasks - beside),
            *_allotted(late, _ROUNDS * asked.tasks if asked.tasks > 1 else 1),
        ]
        coming = [name for task in asked.beside for name in task.sample_ids]
        answered = {*known, *subject.evaluation_keys(schedule, coming)}
        self._missing = [
            [
                lacking
                for own in divided(part, n, tokens)
                if (lacking := self._lacking(own, asked.again, answered))
            ]
            for part, n in zip(self._parts, counts, strict=True)
        ]
        wanted = [
            [Task(schedule, subject.split, one, asked.shared, subject.grid) for one in missing]
            for missing in self._missing
        ]
        self.wanted = deque(chain.from_iterable(wanted[: deciding or None]))
        self._later = deque(chain.from_iterable(wanted[deciding:] if deciding else ()))
        self._unanswered = {task.sample_ids for task in (*self.wanted, *self._later)}
        self._known = sum(key in known for key in self._first)
        self._defects: dict[tuple[str, ...], str] = {}

    @property
    def done(self) -> bool:
        """Whether all parts have been read."""
        return len(self.scores) == len(self._keys)

    @property
    def progress(self) -> tuple[int, int]:
        """Different samples that have a score, and different samples that are asked."""
        return self._known, len(self._first)

    def take(self, task: Task, found: Mapping[EvaluationKey, Evaluation]) -> None:
        """Add the scores of a task."""
        for key, one in found.items():
            self._known += key in self._first and key not in self.known
            self.known.setdefault(key, one)
        self._unanswered.discard(task.sample_ids)

    def fail(self, task: Task, reason: str) -> None:
        """Note why a task has no scores; that counts once its part is to be read."""
        self._defects[task.sample_ids] = reason

    def read(self) -> Iterator[None]:
        """Read on as far as scores are known, and yield after every part.

        Raises:
            EvaluationError: A task of the next part has failed.
        """
        for place, part, missing in self._unread():
            if place >= self._deciding:
                self.wanted += self._later
                self._later.clear()
            for lacking in missing:
                if lacking in self._defects:
                    raise EvaluationError(self._defects[lacking])
            if not self._unanswered.isdisjoint(missing):
                return
            found = [(name, self.known[self._keys[name]]) for name in part]
            self.scores += [SampleScore(name, one.score, one.prediction) for name, one in found]
            yield

    def _unread(self) -> Iterator[tuple[int, tuple[str, ...], list[tuple[str, ...]]]]:
        start = 0
        for place, (part, missing) in enumerate(zip(self._parts, self._missing, strict=True)):
            if start >= len(self.scores):
                yield place, part, missing
            start += len(part)

    def _lacking(
        self, names: Sequence[str], again: Collection[str], answered: Collection[EvaluationKey]
    ) -> tuple[str, ...]:
        """Samples of a task that have to be evaluated, each content once."""
        firsts = [name for name in names if self._first[self._keys[name]] == name]
        rest = {name for name in firsts if self._keys[name] not in answered}
        return tuple(name for name in firsts if name in rest or name in again) if rest else ()


def borders(n: int, chunk: int, cuts: Sequence[int]) -> list[int]:
    """Ends of the parts: every cut, and what lies between in parts of `chunk`."""
    ends = sorted({cut for cut in cuts if 0 < cut < n} | {n})
    spans = zip([0, *ends], ends, strict=False)
    return [border for start, end in spans for border in (*range(start + chunk, end, chunk), end)]


def _allotted(parts: Sequence[Sequence[str]], tasks: int) -> list[int]:
    """How many of so many tasks each part gets by its size, and at least one."""
    until = [0, *accumulate(map(len, parts))]
    ends = [round(tasks * end / max(1, until[-1])) for end in until]
    return [max(1, end - start) for start, end in pairwise(ends)]


def divided(
    part: Sequence[str], tasks: int, tokens: Mapping[str, SampleTokens]
) -> Iterator[Sequence[str]]:
    """The samples of a part in so many tasks, or fewer where these would be too small.

    Samples of equal length share a task as far as they can, as a worker has them in one batch; all
    tasks have about as many tokens.
    """
    tasks = max(1, min(tasks, len(part) // LEAST_TASK))
    if tasks == 1:
        yield part
        return

    def length(name: str) -> tuple[int, int]:
        return tokens[name].n_vision, tokens[name].n_text

    ordered = sorted(part, key=length)
    until = list(accumulate(map(sum, map(length, ordered))))
    cuts = [bisect_right(until, until[-1] * task // tasks) for task in range(1, tasks)]
    for start, end in pairwise((0, *cuts, len(ordered))):
        if start < end:
            yield ordered[start:end]
