"""Exhibits: a few samples of a trial for people to look at, chosen, recorded and stored."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schedsearch.core.exhibit import ScoredSample
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError, SchedsearchError
from schedsearch.execution.scoring import Scoring
from schedsearch.store.evaluations import Evaluation

if TYPE_CHECKING:
    from schedsearch.app.bootstrap import Progress
    from schedsearch.app.study import Study

log = logging.getLogger(__name__)

SAMPLES = 16
"""Of a trial, where nothing else is asked."""

_AT_ONCE = 4
"""Samples that are recorded, and then stored, together."""


@dataclass(frozen=True)
class Recorded:
    """What there is of a trial to look at.

    Attributes:
        trial: Its number.
        exhibits: How many samples.
        changed: Those whose answer the schedule changes.
        recorded: Those that were recorded now.
    """

    trial: int
    exhibits: int
    changed: int
    recorded: int


def exhibit(
    study: "Study",
    trial: int | None = None,
    samples: int = SAMPLES,
    *,
    held_out: SampleSet | None = None,
    again: bool = False,
    progress: "Progress",
) -> Recorded:
    """Record which tokens each layer kept of some samples, with both answers and a picture.

    Samples whose score the schedule changes most come first, then those whose answer it changes,
    then the others in their order; samples without a score last. What is stored stays, and what was
    interrupted goes on where it was.

    Args:
        study: Gives model, store and the calibration samples.
        trial: Its number; default: that of the result.
        samples: How many; fewer where there are no more.
        held_out: Samples that the search has not seen, in place of those that it has.
        again: Record also what is stored, and replace it.
        progress: Starts a progress bar by name.

    Raises:
        InputError: There is no such trial, or no result yet, or nothing may be shown of the set.
        RunError: A schedule cannot be evaluated.
    """
    study = study.snapshot()
    shown = study.best_trial if trial is None else _trial(study, trial)
    subject = study.subject if held_out is None else _held_out(study, held_out, progress)
    known = _known(study, subject, subject.full), _known(study, subject, shown.schedule)
    names = telling(subject, *known)[:samples]
    scoring = Scoring(study.name, subject, study.store, study.executor)
    full = scoring.scores(subject.full, progress("full model"), ids=names)
    own = scoring.scores(shown.schedule, progress(f"trial {shown.number}"), ids=names)
    keys = dict(zip(subject.ids, subject.keys, strict=True))
    stored = {one.sample for one in study.store.exhibits(study.name, shown.number)}
    wanted = [
        (a, b) for a, b in zip(full, own, strict=True) if again or keys[a.sample_id] not in stored
    ]
    said = {keys[b.sample_id]: (a.prediction, b.prediction) for a, b in wanted}
    asked = [ScoredSample(a.sample_id, b.score, a.score) for a, b in wanted]
    parts = [asked[first : first + _AT_ONCE] for first in range(0, len(asked), _AT_ONCE)]
    calls = [(subject.split, shown.schedule, part) for part in parts]
    bar, recorded = progress("exhibits"), 0
    for shots in study.executor.ask_each("exhibits", calls):
        # What has been scored is shown, though rounding might let the model say something else.
        shots = [
            (replace(one, full_answer=a or one.full_answer, answer=b or one.answer), picture)
            for one, picture in shots
            for a, b in [said[one.sample]]
        ]
        study.store.add_exhibits(study.name, shown.number, shots, again)
        recorded += len(shots)
        bar(recorded, len(asked))
    found = study.store.exhibits(study.name, shown.number)
    changed = sum(one.changed for one in found)
    return Recorded(shown.number, len(found), changed, recorded)


def exhibit_last(study: "Study", samples: int, progress: "Progress") -> None:
    """Record exhibits of a finished search; what goes wrong takes nothing from its result."""
    if not samples:
        return
    try:
        exhibit(study, samples=samples, progress=progress)
    except SchedsearchError as error:
        log.warning("the search is finished, but no exhibits were recorded: %s", error)


def telling(
    subject: Subject, full: Mapping[str, Evaluation], own: Mapping[str, Evaluation]
) -> list[str]:
    """Ids of different samples, in the order in which they are worth a look.

    Args:
        subject: Has the samples.
        full: What is known of the full model, by id.
        own: What is known of the schedule, by id.
    """
    once = {key: name for name, key in zip(subject.ids[::-1], subject.keys[::-1], strict=True)}
    different = set(once.values())

    def worth(name: str) -> tuple[bool, float, bool]:
        whole, reduced = full.get(name), own.get(name)
        if whole is None or reduced is None:
            return True, 0.0, True
        same = whole.prediction == reduced.prediction
        return False, -abs(whole.score - reduced.score), same

    return sorted((name for name in subject.ids if name in different), key=worth)


def _known(study: "Study", subject: Subject, schedule: Schedule) -> dict[str, Evaluation]:
    """What the store knows of a schedule's samples, by id."""
    digest, described = subject.context_digest(schedule), subject.context_of(schedule)
    context = study.store.context_id(study.name, digest, described)
    keys = subject.evaluation_keys(schedule, subject.ids)
    found = study.store.scores(context, keys)
    return {name: found[key] for name, key in zip(subject.ids, keys, strict=True) if key in found}


def _held_out(study: "Study", samples: SampleSet, progress: "Progress") -> Subject:
    from schedsearch.app.held_out import HeldOut

    if samples.split == "certify":
        raise InputError(
            "samples of the split certify prove a schedule, and nothing of them is shown; give "
            "held-out ones, or none for those of the calibration set"
        )
    return HeldOut(study, samples, progress).subject


def _trial(study: "Study", number: int) -> Trial:
    found = next((one for one in study.trials if one.number == number), None)
    if found is None:
        raise InputError(
            f"study `{study.name}` has no trial {number}; `schedsearch show` lists its trials"
        )
    return found
