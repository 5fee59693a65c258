"""What happened in a study: its questions, what was at work when, and decisions in words."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from schedsearch.app.study_view import StudyView
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.which_ranker import WhichRanker
from schedsearch.store.trials import Attempt

Answer = Literal["accepted", "not rejected", "refused", "failed", "open"]


@dataclass(frozen=True)
class Asked:
    """A question of a search that goes layer by layer.

    Attributes:
        trial: Number of the trial that answers it.
        search_pass: Pass of the search, from 1.
        layer: The layer that was asked about.
        count: Vision tokens of it, on the largest prompt.
        samples: On how many samples it was asked; None for all.
        answer: What they said.
    """

    trial: int
    search_pass: int
    layer: int
    count: int
    samples: int | None
    answer: Answer


def questions(view: StudyView) -> list[Asked]:
    """The questions of a G-Search about single layers, by number; empty of other searches."""
    sampler = view.sampler
    if not isinstance(sampler, GSearch):
        return []
    return [
        Asked(
            trial.number,
            int(trial.params["pass"]),
            int(trial.params["layer"]),
            int(trial.params["count"]),
            trial.samples,
            _answer(sampler, trial),
        )
        for trial in view.trials
        if trial.params.get("pass") and "count" in trial.params
    ]


def _answer(sampler: GSearch, trial: Trial) -> Answer:
    if trial.state is TrialState.FAIL:
        return "failed"
    accepted = sampler.accepts(trial)
    if accepted is None:
        return "open"
    if not accepted:
        return "refused"
    return "accepted" if trial.state is TrialState.COMPLETE else "not rejected"


@dataclass(frozen=True)
class Span:
    """A worker at work for a trial; or a trial at work, where it is not known by whom.

    Attributes:
        trial: Its number.
        worker: What people call the worker; empty where it is not known.
        lane: From 0: of the worker, with more where it was at work for several trials at once.
            What has no worker comes last, as many lanes as were at work at once.
        started: When that began, in the last attempt at the trial.
        ended: When that ended; None while it goes on.
        state: What became of the trial.
    """

    trial: int
    worker: str
    lane: int
    started: datetime
    ended: datetime | None
    state: TrialState

    @property
    def seconds(self) -> float | None:
        """How long that took; None while it goes on."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()


def timeline(
    trials: Sequence[Trial], attempts: Mapping[int, Attempt], most: int | None = None
) -> list[Span]:
    """Who was at work when for the last attempt at each trial, by beginning.

    Args:
        trials: The trials.
        attempts: The last attempts, by the number of the trial.
        most: So many at most, the latest of the latest so many trials; None for all.
    """
    tried = sorted(
        (attempts[trial.number].started, trial.number, trial)
        for trial in trials
        if trial.number in attempts
    )
    latest = 0 if most is None else -most
    begun = [one for *_, trial in tried[latest:] for one in _at_work(trial, attempts)]
    begun.sort(key=_beginning)
    by_worker: dict[str, list[Span]] = {}
    for one in begun[latest:]:
        by_worker.setdefault(one.worker, []).append(one)
    found: list[Span] = []
    for worker in sorted(by_worker, key=lambda name: (not name, name)):
        found += _side_by_side(by_worker[worker], 1 + max((one.lane for one in found), default=-1))
    return sorted(found, key=_beginning)


def lanes(spans: Sequence[Span]) -> list[tuple[str, list[Span]]]:
    """Lanes of a timeline with what they are called.

    Only the first lane of a worker has a name; none has one where no worker is known.
    """
    known = any(one.worker for one in spans)
    found: dict[int, list[Span]] = {}
    for one in sorted(spans, key=lambda one: one.lane):
        found.setdefault(one.lane, []).append(one)
    named, before = [], None
    for own in found.values():
        worker = own[0].worker
        name = "" if worker == before or not known else worker or "no worker known"
        named.append((name, own))
        before = worker
    return named


def _at_work(trial: Trial, attempts: Mapping[int, Attempt]) -> list[Span]:
    attempt = attempts[trial.number]
    if not attempt.workers:
        return [Span(trial.number, "", 0, attempt.started, attempt.ended, trial.state)]
    return [
        Span(trial.number, one.worker, 0, one.began, one.ended, trial.state)
        for one in attempt.workers
    ]


def _beginning(span: Span) -> tuple[datetime, int, str]:
    return span.started, span.trial, span.worker


def _side_by_side(spans: Sequence[Span], first: int) -> Iterator[Span]:
    """Spans by beginning, from a lane on, in several where they overlap."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    for one in spans:
        while busy and busy[0][0] <= one.started.timestamp():
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else first + len(busy)
        heapq.heappush(busy, (one.ended.timestamp() if one.ended else float("inf"), lane))
        yield replace(one, lane=lane)


@dataclass(frozen=True)
class Decision:
    """Something that was decided.

    Attributes:
        time: When; None where an earlier version has not kept it.
        words: What, in a sentence.
        trial: Number of the trial that decided it; None where none did.
        kind: `best` where the result changed, `fail` where something went wrong, else empty.
    """

    time: datetime | None
    words: str
    trial: int | None = None
    kind: Literal["", "best", "fail"] = ""


def decisions(view: StudyView, attempts: Mapping[int, Attempt]) -> list[Decision]:
    """What was decided when, the latest first: results that got better, layers, failures."""
    trials = view.trials
    ends = {number: attempt.ended for number, attempt in attempts.items()}
    found = [
        Decision(ends.get(trial.number), words, trial.number, kind)
        for trial, words, kind in _told(view, trials)
    ]
    times = zip(
        view.store.certification_times(view.name), view.store.certifications(view.name), strict=True
    )
    for time, proof in times:
        words = "a proof was tried; nothing could be proven"
        if proof.certificate is not None:
            words = f"proven: {proof.certificate.claim}"
        found.append(Decision(time, words, None, "best" if proof.proven else ""))
    return found[::-1]


_Told = Iterator[tuple[Trial, str, Literal["", "best", "fail"]]]


def _told(view: StudyView, trials: Sequence[Trial]) -> _Told:
    sampler = view.sampler
    if isinstance(view.asking, WhichRanker) and (ranker := view.asking.chosen(trials)) is not None:
        last = max((one for one in trials if one.params.get("round")), key=_number, default=None)
        if last is not None:
            yield last, f"the ranker {ranker.words} was chosen", ""
    if isinstance(sampler, GSearch):
        yield from _told_by_layers(sampler, trials)
    else:
        yield from _told_by_results(trials)


def _number(trial: Trial) -> int:
    return trial.number


def _told_by_layers(sampler: GSearch, trials: Sequence[Trial]) -> _Told:
    """Each layer when the search went on to another, with the questions that it took."""
    asked = 0
    settled: Trial | None = None
    layer: tuple[object, object] | None = None
    last: Trial | None = None
    for trial in trials:
        if trial.state is TrialState.FAIL:
            yield trial, f"failed: {trial.reason}", "fail"
        here = trial.params.get("pass"), trial.params.get("layer")
        if not trial.params.get("pass"):
            if trial.measurement is not None and min(trial.schedule.keep) == 1:
                yield trial, f"the full model was measured: score {trial.measurement.score:.4f}", ""
            continue
        if layer != here:
            if settled is not None:
                yield settled, _layer(sampler, settled, asked), "best"
            elif last is not None:
                words = f"layer {last.params['layer']} needs as many as the one before"
                yield last, f"{words}: fewer were refused ({_times(asked)})", ""
            asked, settled = 0, None
        layer, asked, last = here, asked + 1, trial
        if trial.state is TrialState.COMPLETE and sampler.accepts(trial):
            settled = trial
    if settled is not None:
        yield settled, _layer(sampler, settled, asked), "best"


def _layer(sampler: GSearch, trial: Trial, asked: int) -> str:
    measured = trial.measurement
    assert measured is not None
    assert measured.drop is not None
    layer, count = trial.params["layer"], trial.params["count"]
    return (
        f"from layer {layer} on {count} of {sampler.n_max} vision tokens are enough (drop "
        f"{measured.drop:.4f}, FLOPs {100 * measured.flops_ratio:.1f} %; {_times(asked)})"
    )


def _times(asked: int) -> str:
    return "1 question" if asked == 1 else f"{asked} questions"


def _told_by_results(trials: Sequence[Trial]) -> _Told:
    """Each trial that lost least so far, and what failed."""
    least: float | None = None
    for trial in trials:
        measured = trial.measurement
        if trial.state is TrialState.FAIL:
            yield trial, f"failed: {trial.reason}", "fail"
        elif measured is not None and measured.drop is not None:
            if min(trial.schedule.keep) == 1:
                yield trial, f"the full model was measured: score {measured.score:.4f}", ""
            elif least is None or measured.drop < least:
                least = measured.drop
                cost = 100 * measured.flops_ratio
                yield trial, f"least drop so far: {measured.drop:.4f} at {cost:.1f} % FLOPs", "best"
