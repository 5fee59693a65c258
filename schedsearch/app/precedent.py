"""What a search will cost, judged by one of the same model; no model is loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from schedsearch.app.config import StudyConfig
from schedsearch.app.forecast import can_forecast, forecast
from schedsearch.core.flops import SampleTokens
from schedsearch.core.latency import LatencyModel
from schedsearch.core.schedule import Schedule
from schedsearch.demo import DATA
from schedsearch.store.store import Store
from schedsearch.store.studies import StudySummary
from schedsearch.store.trials import Attempt

_OF_A_PACKAGE = 1000
"""Samples of a set that comes with a package, where nobody says how many."""


@dataclass(frozen=True)
class Expected:
    """What a search is expected to cost; None where nothing says it.

    Attributes:
        samples: In the calibration set.
        pass_seconds: Of a full pass over it, by the profile that the study file names.
        like: Name of the study of the same model that it is judged by.
        same: Whether that had the same sampler.
        passes: Full passes over the calibration set.
        most: Of the dearest stand-in, where stand-ins were searched.
        seconds: Of these passes, by the profile, else at the pace of that study.
        can_plan: Whether stand-ins can be searched.
    """

    samples: int | None
    pass_seconds: float | None = None
    like: str | None = None
    same: bool = False
    passes: float | None = None
    most: float | None = None
    seconds: float | None = None
    can_plan: bool = False


class _Spent(NamedTuple):
    """Full passes of a search, and its seconds for a sample of one."""

    passes: float
    a_sample: float


def expected(config: StudyConfig, store: Store, plan: bool = False) -> Expected:
    """What the search of a study will cost, by the last one of the same model.

    One of the same sampler says how many passes; without one, or with `plan`, searches of stand-ins
    may: they take seconds.

    Args:
        config: The study file, with whole paths.
        store: Has the studies.
        plan: Search stand-ins, where that is possible.

    Raises:
        InputError: A file that the study names cannot be used, or its search cannot begin.
    """
    samples, by_profile = _samples(config), _profiled(config)
    pass_seconds = by_profile * samples if by_profile and samples else None
    studies = sorted(store.studies(), key=lambda one: one.created, reverse=True)
    alike = [
        (one.spec, spent)
        for one in studies
        if one.spec.model == config.model and one.holder is None
        if (spent := _spent(one, store)) is not None
    ]
    same = [pair for pair in alike if pair[0].search["sampler"] == config.search.sampler]
    if not alike or samples is None:
        return Expected(samples, pass_seconds)
    spec, spent = (same or alike)[0]
    full = pass_seconds or spent.a_sample * samples
    can_plan = spec.facts.shape is not None and can_forecast(config)
    passes, most = spent.passes if same else None, None
    if plan and can_plan:
        found = [one.passes for one in forecast(config, spec, samples, full)]
        passes, most = found[len(found) // 2], found[-1]
    return Expected(
        samples=samples,
        pass_seconds=pass_seconds,
        like=spec.name,
        same=bool(same),
        passes=passes,
        most=most,
        seconds=None if passes is None else passes * full,
        can_plan=can_plan,
    )


def _profiled(config: StudyConfig) -> float | None:
    """Seconds of a full prefill for each sample, by the profile that a study file names."""
    latency = getattr(config.search, "latency", None)
    if not isinstance(latency, str):
        return None
    model = LatencyModel.load(latency)
    where = model.conditions
    prompt = SampleTokens(where.n_vision, where.n_text)
    return model.prefill_time(Schedule.full(model.layers), prompt) / 1e3 / where.batch


def _spent(one: StudySummary, store: Store) -> _Spent | None:
    name, own = one.spec.name, sum(each.samples or 0 for each in one.spec.facts.tokens)
    passes, seconds = store.effort(name).spent, _at_work(store.last_attempts(name).values())
    return _Spent(passes, seconds / passes / own) if passes and own and seconds else None


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
