"""What a search will cost, before it is begun: the search itself, on stand-ins for the model."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from schedsearch.app.bootstrap import Progress
from schedsearch.app.chain import chain
from schedsearch.app.config import StudyConfig
from schedsearch.app.configured import prepare
from schedsearch.app.pass_time import PassTime, Speed, given, measured
from schedsearch.app.stand_in import DEPTHS, Answers, StandIn, full_flops
from schedsearch.app.study import Study
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Work
from schedsearch.execution.clocked import ClockedExecutor
from schedsearch.execution.loop import run_study
from schedsearch.store.store import open_store

WORKERS = 8
"""The most workers that are planned for where nobody names a number."""


@dataclass(frozen=True)
class Simulated:
    """A search of a stand-in.

    Attributes:
        need: Where its need of vision tokens falls, as in `DEPTHS`.
        workers: Who evaluated.
        questions: Trials of the search.
        passes: Their work, in full passes over the calibration set.
        end_passes: Of what comes last, also over the calibration set: its certificate, or what
            held-out samples say of its result; 0 without either.
        seconds: Of both.
    """

    need: str
    workers: int
    questions: int
    passes: float
    end_passes: float
    seconds: float


@dataclass(frozen=True)
class Expected:
    """What a number of workers takes, from opening the study to its result.

    Attributes:
        workers: How many.
        minutes: Expected.
        least: Of the cheapest stand-in.
        most: Of the dearest.
        worker_hours: Hours of all workers together, those included in which they wait.
    """

    workers: int
    minutes: float
    least: float
    most: float
    worker_hours: float


@dataclass(frozen=True)
class Plan:
    """What a search is expected to cost.

    Attributes:
        study: Its name.
        samples: In the calibration set.
        certify_samples: In the certify set; 0 where nothing is proven.
        held_out_samples: In the held-out set, where the search asks it; else 0.
        pass_time: What a full pass takes.
        opening_seconds: What reading the data and loading the model has taken here.
        searches: Of each stand-in, by one worker; the one in the middle of their costs is expected.
        by_workers: What several workers take.
    """

    study: str
    samples: int
    certify_samples: int
    held_out_samples: int
    pass_time: PassTime
    opening_seconds: float
    searches: tuple[Simulated, ...]
    by_workers: tuple[Expected, ...]

    @property
    def expected(self) -> Simulated:
        """The search in the middle."""
        return _middle(self.searches)


def plan(
    config: StudyConfig,
    folder: Path,
    store: str,
    *,
    workers: int | None = None,
    seconds_per_pass: float | None = None,
    trust_remote_code: bool = False,
    run: Mapping[str, Any] | None = None,
    progress: Progress,
) -> Plan:
    """Search stand-ins for the model of a study, on a clock of their own.

    Nothing is kept: the store is only read, for the studies that this one begins with.

    Args:
        config: Content of the study file.
        folder: Folder of the file.
        store: SQLite file, or the URL of a database.
        workers: The most to plan for; default: those of the study file, else `WORKERS`.
        seconds_per_pass: What a worker takes for a full pass; None to measure it here.
        trust_remote_code: As for `Prepared.open`.
        run: As for `prepare`.
        progress: Starts a progress bar by name.

    Raises:
        InputError: Something cannot be used, as for a search.
        RunError: The full model cannot be evaluated.
    """
    began = time.perf_counter()
    ready = prepare(config, folder, store, run=run, progress=progress)
    with TemporaryDirectory(prefix="schedsearch-plan-") as place:
        apart = Path(place)
        opened = ready.open(
            trust_remote_code=trust_remote_code, apart=apart / "opened.db", progress=progress
        )
        with opened as study:
            opening = time.perf_counter() - began
            subject, spec = study.subject, study.spec
            if seconds_per_pass is None:
                pass_time = measured(study, progress("timing full passes"))
            else:
                pass_time = given(seconds_per_pass)
        certify = 0 if ready.certify is None else len(ready.certify)
        held_out = 0 if certify or ready.held_out is None else len(ready.held_out)
        most = workers or (config.run.workers if config.run else None) or WORKERS
        counts = sorted({*_doubling(most), most})
        simulation = Simulation(spec, subject, pass_time, certify, held_out, apart)
        bar, todo = progress("searching stand-ins"), len(DEPTHS) + len(counts) - 1
        bar(0, todo)
        searches = []
        for need in DEPTHS:
            searches.append(simulation.run(need, 1))
            bar(len(searches), todo)
        middle = _middle(searches)
        by_workers = [middle]
        for count in counts[1:]:
            by_workers.append(simulation.run(middle.need, count))
            bar(len(searches) + len(by_workers) - 1, todo)
    return Plan(
        study=spec.name,
        samples=len(subject.ids),
        certify_samples=certify,
        held_out_samples=held_out,
        pass_time=pass_time,
        opening_seconds=opening,
        searches=tuple(searches),
        by_workers=tuple(_expected(one, searches, middle, opening) for one in by_workers),
    )


@dataclass(frozen=True)
class Simulation:
    """Searches of stand-ins for one model, each in a store of its own.

    Attributes:
        spec: Of the search.
        subject: What is searched; it is not evaluated.
        pass_time: What its passes take.
        certify: Samples of a certificate; 0 without one.
        held_out: Samples that say what the result loses; 0 where none are asked.
        folder: Has the stores.
    """

    spec: StudySpec
    subject: Subject
    pass_time: PassTime
    certify: int
    held_out: int
    folder: Path

    def run(self, need: str, workers: int) -> Simulated:
        """Search a stand-in, by the loop and the sampler that will search the model."""
        subject = replace(self.subject, full_pass=Work(full_flops(self.subject)))
        answers = Answers.draw(subject, DEPTHS[need], self.pass_time.full_score)
        speed = Speed(self.pass_time, subject.full_pass.flops, len(subject.ids))
        reuse = self.pass_time.reuses
        executor = ClockedExecutor(lambda: StandIn(subject, answers, reuse), workers, speed)
        store = open_store(self.folder / f"{need}-{workers}.db")
        with Study(self.spec, subject, executor, store) as study:
            done = run_study(study.name, study.asking, study.scoring, store, stop_on_failure=False)
            ratios = self._scored_last(study) if done.best is not None else []
        samples = self.certify or self.held_out
        passes = sum(ratios) * samples / len(subject.ids)
        seconds = speed.of(passes, samples * len(ratios), samples) / workers
        return Simulated(
            need, workers, done.closed, done.effort.spent, passes, executor.now + seconds
        )

    def _scored_last(self, study: Study) -> list[float]:
        """FLOPs ratios of the schedules that other samples score at the end; at most so many."""
        if self.certify:
            return [1.0, *(link.flops_ratio for link in chain(study.snapshot(), study.subject))]
        return [1.0, study.subject.costs(study.best)[0]] if self.held_out else []


def _doubling(most: int) -> Iterator[int]:
    count = 1
    while count <= most:
        yield count
        count *= 2


def _middle(searches: Sequence[Simulated]) -> Simulated:
    return sorted(searches, key=lambda one: one.seconds)[len(searches) // 2]


def _expected(
    found: Simulated, searches: Sequence[Simulated], middle: Simulated, opening: float
) -> Expected:
    """What a number of workers takes, as far apart as the searches by one worker are."""
    seconds = [found.seconds * one.seconds / middle.seconds for one in searches]
    whole = opening + found.seconds
    return Expected(
        workers=found.workers,
        minutes=whole / 60,
        least=(opening + min(seconds)) / 60,
        most=(opening + max(seconds)) / 60,
        worker_hours=found.workers * whole / 3600,
    )
