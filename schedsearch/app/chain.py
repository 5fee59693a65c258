"""The chain of schedules that a certificate tests, fixed before one of its samples is scored."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from schedsearch.app.study_view import StudyView
from schedsearch.core.certificate import Link
from schedsearch.core.chain import chain as between
from schedsearch.core.pareto import pareto
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Subject

STEPS = 6
"""Steps from keep-all to the found schedule, which is the last."""

TRIALS = 3
"""At most so many trials among them."""


def chain(view: StudyView, subject: Subject) -> tuple[Link, ...]:
    """Schedules from mild to the found one, their FLOPs ratio falling.

    Interpolations; among them those undominated trials that are next above the found
    schedule in cost. They follow from the study's trials alone. A longer chain would come nearer
    to what can be proven, but every link has to be scored, and one that fails ends the test.

    Args:
        view: The study, with a result.
        subject: Its calibration set.

    Raises:
        InputError: The study has no result yet.
    """
    found = view.best
    end = _link("found schedule", found, subject)
    milder = [*_interpolations(found, view.sampler.n_max, subject), *_trials(view, end, subject)]
    links, seen = [], {subject.evaluation(found), subject.evaluation(subject.full)}
    for link in sorted(milder, key=lambda one: -one.flops_ratio):
        evaluation = subject.evaluation(link.schedule)
        if evaluation not in seen and link.flops_ratio > end.flops_ratio:
            seen.add(evaluation)
            links.append(link)
    return (*links, end)


def _interpolations(found: Schedule, n_max: int, subject: Subject) -> Iterator[Link]:
    for step, schedule in enumerate(between(found, n_max, STEPS)[:-1], 1):
        yield _link(f"step {step} of {STEPS} on the way to it", schedule, subject)


def _trials(view: StudyView, end: Link, subject: Subject) -> Sequence[Link]:
    links = [
        _link(f"trial {trial.number}", trial.schedule, subject) for trial in pareto(view.trials)
    ]
    return [link for link in links if end.flops_ratio < link.flops_ratio < 1][:TRIALS]


def _link(what: str, schedule: Schedule, subject: Subject) -> Link:
    made = replace(schedule, target=subject.target)
    return Link(what, made, *subject.costs(made))
