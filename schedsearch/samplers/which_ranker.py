"""Which ranker: several answer the same schedules, then the search goes on with the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import inf
from statistics import fmean

from schedsearch.core.budget import Budget
from schedsearch.core.facts import Facts
from schedsearch.core.families.linear import Linear
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.sampler import OnFailure, Question, Status, StudySampler

# Straight lines over depth: how far they fall, and their share of the feasible range of FLOPs. What
# tells rankers apart is what they lose where every ranker loses something, at more than one cost.
_CURVES = ((0.0, 0.5), (1.0, 0.5), (0.0, 0.25))

# The first round reads one in so many samples, but no fewer than a screen has.
_SHARE, _FEWEST = 16, 8


@dataclass(frozen=True)
class Rung:
    """One round: rankers on the same samples.

    Attributes:
        samples: How many each is asked, besides those that can gain on keep-all.
        drops: Mean over the schedules of what each loses; infinity where one could not be
            evaluated, None where an answer is still to come.
    """

    samples: int
    drops: Mapping[RankerSpec, float | None]

    def better_half(self) -> tuple[RankerSpec, ...] | None:
        """Return who goes on, the best first, of equals the first; None before all answers."""
        known = {ranker: drop for ranker, drop in self.drops.items() if drop is not None}
        if len(known) < len(self.drops):
            return None
        ranked = sorted(known, key=lambda ranker: known[ranker])  # stable
        return tuple(ranked[: (len(ranked) + 1) // 2])


@dataclass(frozen=True, kw_only=True)
class WhichRanker:
    """Finds out by successive halving (arXiv 1502.07943) which ranker serves, and searches with it.

    All rankers answer the same three schedules, two levels and a line, on the same few samples; the
    better half goes on with twice as many samples, until one is left. Whose mean drop is less is
    better. Then its own search begins, as if there had been no other.

    There are log2(R) rounds for R rankers, rounded up. Each reads 3 R / 16 of the samples, less
    than twice that where an odd number is halved; and, for each question, those that keep-all
    misses.

    Differs: the paper drops the worse half, so an odd one out leaves; here it stays.

    The parameters of a question are `round`, `curve` and `ranker`.

    Attributes:
        facts: Of model and calibration set.
        rankers: Several, all different.
        searches: The search with each of them.
    """

    facts: Facts
    rankers: tuple[RankerSpec, ...]
    searches: tuple[StudySampler, ...]

    @property
    def name(self) -> str:
        """That of the search."""
        return self.searches[0].name

    @property
    def concurrent_trials(self) -> int:
        """As many as the search has open at once."""
        return self.searches[0].concurrent_trials

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""
        return self.searches[0].layers

    @property
    def n_max(self) -> int:
        """The most vision tokens of a calibration sample."""
        return self.searches[0].n_max

    @property
    def first(self) -> int:
        """First layer that may process fewer vision tokens than there are."""
        return self.searches[0].first

    @property
    def screens(self) -> tuple[int, ...]:
        """Those of the search."""
        return self.searches[0].screens

    @property
    def noise(self) -> float:
        """That of the search."""
        return self.searches[0].noise

    @property
    def on_failure(self) -> OnFailure:
        """Whether a failed trial ends the run; else its ranker counts as the worst."""
        return self.searches[0].on_failure

    def chosen(self, history: Sequence[Trial]) -> RankerSpec | None:
        """Return the ranker that was found; None before."""
        left = self.rungs(history)[-1].better_half()
        return left[0] if left and len(left) == 1 else None

    def search(self, history: Sequence[Trial]) -> StudySampler:
        """Return the search with the ranker that was found; before, with the first."""
        ranker = self.chosen(history)
        return self.searches[self.rankers.index(ranker)] if ranker else self.searches[0]

    def rungs(self, history: Sequence[Trial]) -> list[Rung]:
        """Return the rounds so far, the present one included."""
        answers, left, found = self._answers(history), self.rankers, list[Rung]()
        while True:
            number = len(found) + 1
            drops = {
                one: _mean([answers.get((number, at, one)) for at in _numbered()]) for one in left
            }
            found.append(Rung(self._samples(number), drops))
            following = found[-1].better_half()
            if following is None or len(following) == 1:
                return found
            left = following

    def ask(self, history: Sequence[Trial]) -> Sequence[Question]:
        """Return what the round lacks, as much as may be open at once; then what the search asks.

        Raises:
            InputError: As the search does.
            RunError: As the search does.
        """
        if self.chosen(history) is not None:
            return self.search(history).ask(history)
        if not history:
            self.searches[0].ask(())  # what cannot begin must be refused before rankers compete
        rungs, answers = self.rungs(history), self._answers(history)
        number, rung = len(rungs), rungs[-1]
        asked = product(_numbered(), rung.drops)
        lacking = [(at, one) for at, one in asked if (number, at, one) not in answers]
        opened = sum(not trial.state.finished for trial in answers.values())
        return [
            Question(
                {"round": number, "curve": at, "ranker": one.words},
                replace(self._curves[at - 1], ranker=one),
                rung.samples,
            )
            for at, one in lacking[: max(0, self.concurrent_trials - opened)]
        ]

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether a ranker was found and no question of its search will follow."""
        return self.chosen(history) is not None and self.search(history).finished(history)

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether the search can stop a trial of its own; those of the rounds are read out."""
        own = "round" not in trial.params
        return own and self.search(history).hopeless(history, trial, least_drop)

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the result of the search so far."""
        return self.search(history).best(history)

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the rounds stand, or the search."""
        asked = sum("round" in trial.params for trial in history)
        if self.chosen(history) is None:
            return Status(f"rankers, round {len(self.rungs(history))}", asked)
        status = self.search(history).status(history)
        return replace(status, asked=asked + status.asked)

    @cached_property
    def _curves(self) -> list[Schedule]:
        shape, tokens, family = self.facts.decoder, self.facts.samples(), Linear(self.first)
        return [
            family.schedule({"fall": fall}, Budget("feasible", share), shape, tokens)
            for fall, share in _CURVES
        ]

    def _samples(self, number: int) -> int:
        first: int = max(_FEWEST, len(self.facts.samples()) // _SHARE)
        return first << (number - 1)

    def _answers(self, history: Sequence[Trial]) -> dict[tuple[object, ...], Trial]:
        """Return the trials of the rounds; a retry says more than what failed before it."""
        found: dict[tuple[object, ...], Trial] = {}
        for trial in sorted(history, key=lambda one: one.number):
            failed = trial.state is TrialState.FAIL
            if "round" not in trial.params or (failed and self.on_failure == "stop"):
                continue
            key = trial.params["round"], trial.params["curve"], trial.schedule.ranker
            if not failed or key not in found:
                found[key] = trial
        return found


def _numbered() -> range:
    return range(1, len(_CURVES) + 1)


def _mean(answers: Sequence[Trial | None]) -> float | None:
    finished = [trial for trial in answers if trial is not None and trial.state.finished]
    if len(finished) < len(answers):
        return None
    return fmean(inf if one.expected is None else one.expected for one in finished)
