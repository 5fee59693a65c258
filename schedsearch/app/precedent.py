"""What a search will cost, judged by a like one that has ended; no model is loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schedsearch.app.config import StudyConfig
from schedsearch.demo import DATA
from schedsearch.store.store import Store
from schedsearch.store.studies import StudySummary
from schedsearch.store.trials import Attempt

_OF_A_PACKAGE = 1000
"""Samples of a set that comes with a package, where nobody says how many."""


@dataclass(frozen=True)
class Expected:
    """What a search is expected to cost.

    Attributes:
        samples: In the calibration set; None where that is not known.
        like: Name of a study of the same model and sampler; None where there is none, and then
            neither are the others.
        passes: Full passes over the calibration set that it has spent.
        seconds: At its pace.
    """

    samples: int | None
    like: str | None = None
    passes: float | None = None
    seconds: float | None = None


def expected(config: StudyConfig, store: Store) -> Expected:
    """What the search of a study will cost, by the last one of the same model and sampler.

    Args:
        config: The study file, with whole paths.
        store: Has the studies.
    """
    samples = _samples(config)
    for one in sorted(store.studies(), key=lambda one: one.created, reverse=True):
        alike = one.spec.model == config.model and one.holder is None
        if not alike or one.spec.search["sampler"] != config.search.sampler:
            continue
        found = _as_was(one, store, samples)
        if found is not None:
            return found
    return Expected(samples)


def _as_was(one: StudySummary, store: Store, samples: int | None) -> Expected | None:
    name, own = one.spec.name, sum(each.samples or 0 for each in one.spec.facts.tokens)
    passes, seconds = store.effort(name).spent, _at_work(store.last_attempts(name).values())
    if not (passes and own and seconds):
        return None
    return Expected(samples, name, passes, seconds * samples / own if samples else None)


def _at_work(attempts: Iterable[Attempt]) -> float:
    """Seconds in which at least one of these was at work."""
    total, until = 0.0, None
    for one in sorted(attempts, key=lambda one: one.started):
        if one.ended is None:
            continue
        begun = one.started if until is None else max(until, one.started)
        total += max(0.0, (one.ended - begun).total_seconds())
        until = one.ended if until is None else max(until, one.ended)
    return total


def _samples(config: StudyConfig) -> int | None:
    data = config.data
    if data.calibration.partition(":")[0] in DATA:
        found = data.calibration_samples or _OF_A_PACKAGE
    else:
        try:
            with Path(data.calibration).open("rb") as file:
                found = sum(1 for line in file if line.strip())
        except OSError:
            return None
        found = min(found, data.calibration_samples or found)
    return round(found * (data.shares.search if data.shares else 1))
