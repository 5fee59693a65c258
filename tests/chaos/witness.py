"""A log that no crash takes back: who evaluated what, and what was seen to be stored."""

import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import SampleScore, Task, Trial

What = Literal["again", "evaluated", "stored", "closed", "reached", "fault"]


class Key(NamedTuple):
    """What an evaluation is known by: digest of its context, sample, counts as "5,5,4"."""

    context: str
    sample: str
    counts: str


class Event(NamedTuple):
    """A line of the log.

    `again` names evaluations that a coordinator asks for although they are known, since a worker
    has kept something for them. `evaluated` is said before the work of a task, of each of its
    samples; `stored` and `closed` once the store has acknowledged scores or a finished trial;
    `reached` by a process that freezes itself next; `fault` right before harm is done.

    Attributes:
        what: One of these.
        run: Process of the coordinator.
        told: What there is to say of it.
        schedule: Digest of the one that is evaluated.
    """

    what: What
    run: int
    told: Any
    schedule: str = ""

    @property
    def keys(self) -> list[Key]:
        """Of `again`, `evaluated` and `stored`."""
        return [Key(*one[:3]) for one in self.told]


@dataclass(frozen=True)
class Witness:
    """The log, one line an event; appended in one write, which the kernel has at once.

    Attributes:
        file: Where it is.
        subject: What is evaluated.
    """

    file: Path
    subject: Subject

    def say(self, what: What, told: object = None, schedule: str = "", run: int = 0) -> None:
        line = json.dumps([what, run or os.getpid(), told, schedule]) + "\n"
        log = os.open(self.file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(log, line.encode())
        os.close(log)

    def say_again(self, schedule: Schedule, ids: Collection[str]) -> None:
        self.say("again", self._keys(schedule, ids), schedule.digest())

    def say_evaluated(self, run: int, task: Task) -> None:
        told = self._keys(task.schedule, task.sample_ids)
        self.say("evaluated", told, task.schedule.digest(), run)

    def say_stored(self, task: Task, scores: Sequence[SampleScore]) -> None:
        keys = self._keys(task.schedule, task.sample_ids)
        told = [(*key, one.score) for key, one in zip(keys, scores, strict=True)]
        self.say("stored", told, task.schedule.digest())

    def say_closed(self, trial: Trial) -> None:
        self.say("closed", [trial.number, trial.state])

    @property
    def events(self) -> list[Event]:
        *lines, _being_written = (self.file.read_text() if self.file.exists() else "").split("\n")
        return [Event(*json.loads(line)) for line in lines]

    def _keys(self, schedule: Schedule, ids: Collection[str]) -> list[Key]:
        context = self.subject.context_digest(schedule)
        found = self.subject.evaluation_keys(schedule, list(ids))
        return [Key(context, sample, ",".join(map(str, counts))) for sample, counts in found]


def evaluated(events: Sequence[Event]) -> set[Key]:
    """All evaluations that were begun."""
    return {key for one in events if one.what == "evaluated" for key in one.keys}


def recomputed(events: Sequence[Event]) -> Counter[Key]:
    """How often each evaluation was begun for which another had been.

    Trials that are at work at once may share some, and a coordinator may ask for some again: it
    does so whatever happens, and that is not counted.
    """
    found, begun = Counter[Key](), dict[Key, set[int]]()
    seen, known, again = set[object](), set[Key](), set[tuple[int, Key]]()
    for one in events:
        if one.what == "again":
            again.update((one.run, key) for key in one.keys)
        elif one.what == "stored":
            known.update(one.keys)
        elif one.what == "evaluated":
            for key in one.keys:
                runs = begun.setdefault(key, set())
                twice = (one.run, one.schedule, key) in seen or (runs and one.run not in runs)
                found[key] += bool(twice) and not (key in known and (one.run, key) in again)
                seen.add((one.run, one.schedule, key))
                runs.add(one.run)
    return +found


def stored(events: Sequence[Event]) -> dict[Key, float]:
    """Scores that the store has acknowledged."""
    said = [one for one in events if one.what == "stored"]
    return {Key(*key): score for one in said for *key, score in one.told}


def in_flight(events: Sequence[Event]) -> Counter[Key]:
    """How often each evaluation had been begun and not acknowledged when a fault happened.

    Of several faults the one at which that was most often the case.
    """
    flying, most = Counter[Key](), Counter[Key]()
    for one in events:
        if one.what == "evaluated":
            flying.update(one.keys)
        elif one.what == "stored":
            flying.subtract(one.keys)
        elif one.what == "fault":
            most |= flying
    return most
