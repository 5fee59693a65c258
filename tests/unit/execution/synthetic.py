"""A subject whose scores are known without a model, searched in a real store.

Every evaluation leaves a line in a file of its own, which no transaction takes back: what the
database says about evaluations is checked against it.
"""

import heapq
import os
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from schedsearch.core.facts import Facts
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Evaluated, SampleScore, Task, Trial, Work
from schedsearch.errors import DeviceError, SchedsearchError
from schedsearch.execution.executor import Executor, Outcome, Ticket
from schedsearch.execution.executors.local import LocalExecutor
from schedsearch.execution.loop import Run, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.sampler import Sampler
from schedsearch.store import Store, open_store

Evaluate = Callable[[Task], Sequence[SampleScore]]

LAYERS, N_MAX, CHUNK = 6, 6, 5
NEED = (6, 6, 6, 5, 3, 1)  # of N_MAX: below it a layer costs score
CONTENT = (0, 1, 2, 3, 4, 5, 6, 2, 7, 4)  # of each sample: two occur twice
IDS = tuple(f"q{i}" for i in range(len(CONTENT)))
DIFFERENT = len(set(CONTENT))
STUDY = "synthetic"
SEARCH = GSearch(
    layers=LAYERS,
    n_max=N_MAX,
    n_visions=(3, N_MAX),
    first=3,
    tolerance=0.1,
    method="bisection",
)
FULL = Schedule.full(LAYERS)


def visions(content: int) -> int:
    """Vision tokens of a sample: images come in two sizes."""
    return N_MAX if content % 3 else N_MAX // 2


SUBJECT = Subject(
    name="synthetic",
    digest="c0ffee",
    split="calibration",
    ids=IDS,
    keys=tuple(f"content {content}" for content in CONTENT),
    tokens=tuple(SampleTokens(visions(content), 4) for content in CONTENT),
    shape=DecoderShape(LAYERS, 8, 2, 2, 4, 16, 32),
    target=None,
    context={"weights": "none"},
)


def score(content: int, counts: Sequence[int]) -> float:
    """A pure function of sample and counts: what the needs cost, and the sample's own noise."""
    n = visions(content)
    lost = sum(max(0.0, need / N_MAX - kept / n) for need, kept in zip(NEED, counts, strict=True))
    return 1 - 2 * lost + random.Random(f"{content} {counts}").uniform(-0.05, 0.05)


def evaluations(trials: Sequence[Trial]) -> int:
    """Different samples and counts that trials stand for; the small images share some counts.

    Keep-all shares none, for it has no ranker.
    """
    asked = [(trial.schedule == FULL, trial.schedule, one) for trial in trials for one in CONTENT]
    return len({(full, keep.counts(visions(one)), one) for full, keep, one in asked})


def counts_of(task: Task, content: int) -> tuple[int, ...]:
    return task.schedule.counts(visions(content))


def evaluate(task: Task) -> list[SampleScore]:
    """The scores of a task, and the counts as what the model answered."""
    contents = [CONTENT[IDS.index(name)] for name in task.sample_ids]
    return [
        SampleScore(name, score(content, counts_of(task, content)), str(counts_of(task, content)))
        for name, content in zip(task.sample_ids, contents, strict=True)
    ]


class Line(NamedTuple):
    """A line of the file: who evaluated what, in which of its tasks.

    Ranker and counts are all that a task says about a sample; keep-all has no ranker.
    """

    pid: int
    task: int
    content: int
    counts: str
    ranker: str


class Recorded:
    """Evaluates, and appends a line for every sample to a file."""

    def __init__(self, file: Path, inner: Evaluate = evaluate) -> None:
        self._file = file
        self._inner = inner
        self._tasks = 0

    def __call__(self, task: Task) -> Sequence[SampleScore]:
        self._tasks += 1
        ranker = "none" if min(task.schedule.keep) == 1 else task.schedule.ranker.name
        log = os.open(self._file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        for name in task.sample_ids:
            content = CONTENT[IDS.index(name)]
            counts = counts_of(task, content)
            line = f"{os.getpid()};{self._tasks};{content};{counts};{ranker}\n"
            os.write(log, line.encode())  # with the kernel at once: a killed process loses nothing
        os.close(log)
        return self._inner(task)


def evaluated(file: Path) -> list[Line]:
    """The lines of the file, in order."""
    lines = file.read_text().splitlines() if file.exists() else []
    fields = [line.split(";") for line in lines]
    return [Line(*map(int, field[:3]), *field[3:]) for field in fields]


class FunctionWorker:
    """A function as a worker.

    Args:
        evaluate: One score per sample, in the order of the task.
        work: What all evaluations so far have cost; default: none is counted.
    """

    def __init__(self, evaluate: Evaluate, work: Callable[[], Work] = Work) -> None:
        self._evaluate = evaluate
        self._work = work

    def evaluate(self, task: Task) -> Evaluated:
        before = self._work()
        try:
            scores = tuple(self._evaluate(task))
        except DeviceError:
            raise
        except SchedsearchError as error:
            failure = str(error) or type(error).__name__
            return Evaluated(failure=failure, work=self._work() - before)
        return Evaluated(scores, work=self._work() - before)


def local(evaluate: Evaluate, work: Callable[[], Work] = Work) -> LocalExecutor:
    """An executor of one worker, which is a function."""
    return LocalExecutor(lambda: FunctionWorker(evaluate, work))


class Shuffled:
    """An executor with several tasks at work, of which any may be ready first."""

    def __init__(self, evaluate: Evaluate, slots: int = 3, seed: int = 0) -> None:
        self.slots = slots
        self.most = 0
        self._local = local(evaluate)
        self._rng = random.Random(seed)
        self._flying: list[tuple[Ticket, Task]] = []

    def submit(self, ticket: Ticket, task: Task) -> None:
        self._flying.append((ticket, task))
        self.most = max(self.most, len(self._flying))

    def next(self) -> Outcome:
        self._local.submit(*self._flying.pop(self._rng.randrange(len(self._flying))))
        return self._local.next()

    def cancel(self, tickets: Collection[Ticket]) -> None:
        self._flying = [flying for flying in self._flying if flying[0] not in tickets]

    def close(self) -> None:
        self._local.close()


class Clocked:
    """An executor of several workers whose time is counted, not spent.

    Args:
        evaluate: Answers.
        slots: How many workers.
        seconds: What a task takes.

    Attributes:
        now: Seconds since the beginning.
    """

    def __init__(self, evaluate: Evaluate, slots: int, seconds: Callable[[Task], float]) -> None:
        self.slots = slots
        self.now = 0.0
        self._local = local(evaluate)
        self._seconds = seconds
        self._free = [0.0] * slots
        self._flying: list[tuple[float, Ticket, Task]] = []

    def submit(self, ticket: Ticket, task: Task) -> None:
        begin = max(self.now, heapq.heappop(self._free))
        end = begin + self._seconds(task)
        heapq.heappush(self._free, end)
        self._flying.append((end, ticket, task))

    def next(self) -> Outcome:
        first = min(self._flying, key=lambda flying: flying[0])
        self._flying.remove(first)
        self.now = max(self.now, first[0])
        self._local.submit(*first[1:])
        return self._local.next()

    def cancel(self, tickets: Collection[Ticket]) -> None:
        self._flying = [flying for flying in self._flying if flying[1] not in tickets]


def spec(study: str = STUDY) -> StudySpec:
    return StudySpec(
        name=study,
        model="none",
        calibration="synthetic",
        calibration_digest="c0ffee",
        metric="score",
        search={"sampler": "g-search", "concurrent_trials": 1, "screens": [], "guess": []},
        facts=Facts.of(SUBJECT.shape, SUBJECT.tokens),
    )


@dataclass(frozen=True)
class Place:
    """A folder with a store and the file of evaluations."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "runs.db"

    @property
    def file(self) -> Path:
        return self.folder / "evaluated"

    @property
    def evaluated(self) -> list[Line]:
        return evaluated(self.file)

    def store(self) -> Store:
        return open_store(self.database)

    def trials(self, study: str = STUDY) -> list[Trial]:
        with self.store() as store:
            return store.trials(study)

    def search(
        self,
        sampler: Sampler = SEARCH,
        inner: Evaluate = evaluate,
        chunk: int = CHUNK,
        study: str = STUDY,
        subject: Subject = SUBJECT,
        before: Callable[[Store], object] = lambda _store: None,
        executor: Callable[[Evaluate], Executor] = local,
        **options: object,
    ) -> Run:
        """Search as a new process would: open the store, go on with the study.

        Args:
            sampler: Asks.
            inner: Answers; recorded in the file.
            chunk: Samples in a task.
            study: Its name.
            subject: What is evaluated.
            before: Called with the store before the run.
            executor: Evaluates.
            options: Of `run_study`.
        """
        with self.store() as store:
            store.create_study(spec(study))
            before(store)
            scoring = Scoring(study, subject, store, executor(Recorded(self.file, inner)), chunk)
            return run_study(study, sampler, scoring, store, **options)


def new_place(folder: Path) -> Place:
    """A folder with an empty store, copied: making the tables takes longer than most tests."""
    folder.mkdir(exist_ok=True)
    place = Place(folder)
    place.database.write_bytes(_empty_store())
    return place


@cache
def _empty_store() -> bytes:
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.store().close()
        return place.database.read_bytes()


@cache
def uninterrupted() -> list[Trial]:
    """The trials of a search to which nothing happens."""
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        assert place.search().ending == "finished"
        return place.trials()
