"""Samplers of studies: from what users write to a specification, and from that to the sampler."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schedsearch.app.search_config import settings_complaint
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers import SAMPLERS
from schedsearch.samplers.sampler import StudySampler
from schedsearch.samplers.settings import Divergences, SamplerSettings, Surroundings
from schedsearch.samplers.which_ranker import WhichRanker
from schedsearch.store.store import Store

BY_RANKER = "by_ranker"
"""Where a study of several rankers has what single cuts suggest for each behind the first."""


def make_sampler(spec: StudySpec) -> StudySampler:
    """The sampler of a study, from its specification alone.

    Raises:
        InputError: Its settings are out of range.
    """
    rankers = spec.rankers or (spec.ranker,)
    searches = tuple(
        settings_of(spec, at).make(spec.facts, ranker, spec.seed)
        for at, ranker in enumerate(rankers)
    )
    if len(searches) == 1:
        return searches[0]
    return WhichRanker(facts=spec.facts, rankers=rankers, searches=searches)


def settings_of(spec: StudySpec, ranker: int = 0) -> SamplerSettings:
    """Settings of a study's sampler.

    Args:
        spec: Of the study.
        ranker: For which of several, from 0.

    Raises:
        InputError: The sampler is unknown here, or has no such settings.
    """
    name = spec.search["sampler"]
    if name not in SAMPLERS:
        raise InputError(
            f"the sampler `{name}` is unknown here; register it, or use a newer schedsearch"
        )
    search = dict(spec.search)
    own = ({}, *search.pop(BY_RANKER, ()))
    if ranker < len(own):
        search |= own[ranker]
    try:
        return SAMPLERS[name].model_validate_json(json.dumps(search))
    except ValidationError as error:
        complaint = settings_complaint(error, SAMPLERS[name])
        raise InputError(f"study `{spec.name}` cannot be searched: {complaint}") from None


def _unmeasured(_schedules: Sequence[Schedule], _samples: int) -> tuple[list[float], float]:
    raise InputError("what single cuts cost is measured by the model; open the study with it")


def resolve(
    settings: SamplerSettings,
    subject: Subject,
    study: str,
    store: Store | None,
    folder: Path = Path(),
    attention: Callable[[], list[int]] = list,
    divergences: Divergences = _unmeasured,
) -> SamplerSettings:
    """Settings with all that follows from model, calibration set, files and other studies.

    A study that exists already keeps the curves that it began with.

    Args:
        settings: What the user chose.
        subject: The model and the calibration set.
        study: Name of the study.
        store: Where it is kept, and other studies that it may begin with; None if yet to be made.
        folder: What names of files are relative to.
        attention: Counts that the full model's attention suggests; by default none.
        divergences: Measures schedules on few samples; by default nothing does.

    Raises:
        InputError: A curve, the budget, the latency file or a screen cannot be used.
    """

    def result(other: str) -> Trial | None:
        if store is None:
            return None
        return make_sampler(store.spec(other)).best(store.trials(other))

    former = former_spec(study, store)
    search = None if former is None else former.search
    around = Surroundings(subject, result, attention, divergences, folder, search)
    return settings.resolved(around)


def search_of(
    settings: SamplerSettings,
    rankers: Sequence[RankerSpec],
    subject: Subject,
    study: str,
    store: Store | None,
    folder: Path,
    attention: Callable[[], list[int]],
    divergences: Callable[[RankerSpec], Divergences],
) -> dict[str, Any]:
    """The `search` of a study: settings as `resolve` has them, as JSON.

    Of several rankers each has single cuts of its own, and `spent` is what all of them have cost.

    Args:
        settings: As for `resolve`.
        rankers: Those of the study.
        subject: As for `resolve`.
        study: As for `resolve`.
        store: As for `resolve`.
        folder: As for `resolve`.
        attention: As for `resolve`.
        divergences: Measures schedules under a ranker.

    Raises:
        InputError: As `resolve`.
        RunError: A single cut cannot be evaluated.
    """

    def resolved(ranker: RankerSpec) -> dict[str, Any]:
        measures = divergences(ranker)
        return resolve(settings, subject, study, store, folder, attention, measures).plain()

    first, former = resolved(rankers[0]), former_spec(study, store)
    if former is not None and BY_RANKER in former.search:
        return {**first, BY_RANKER: former.search[BY_RANKER]}
    if former is not None or settings.spent is not None or "spent" not in first:
        return first
    others = [resolved(ranker) for ranker in rankers[1:]]
    own = [
        {key: value for key, value in one.items() if key != "spent" and value != first[key]}
        for one in others
    ]
    spent = sum(one["spent"] for one in (first, *others))
    return {**first, "spent": spent, **({BY_RANKER: own} if own else {})}


def former_spec(study: str, store: Store | None) -> StudySpec | None:
    """The specification of the study of this name, if it has begun."""
    known = [] if store is None else [summary.spec for summary in store.studies()]
    return next((spec for spec in known if spec.name == study), None)
