"""G-Search, then a few trials around its curve: whether less is accepted, too."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from random import Random
from typing import ClassVar

from schedsearch.core.flops import Cost, DecoderShape, SampleTokens, flops_cost
from schedsearch.core.pareto import costs, full
from schedsearch.core.schedule import Schedule
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import Trial, TrialState
from schedsearch.samplers.around import Around
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.known import Point, next_number, taken_by
from schedsearch.samplers.rough_cost import RoughCost
from schedsearch.samplers.sampler import Question, Status

_TRIES = 64


@dataclass(frozen=True, kw_only=True)
class Auto(GSearch):
    """Searches as `GSearch`, then asks for cheaper schedules around the curve that it found.

    G-Search settles shallow layers at the edge of the tolerance, which may leave deep ones nothing
    to lose; and where schedules do not nest, something cheaper may be accepted beside its curve.
    So the layers are scaled in blocks, see `Around`, as Bayesian optimisation says that has cost
    for its objective and the tolerance for its constraint, see `Cheaper`. Cost needs no forward:
    only what is cheaper than the best accepted trial is asked, on all samples. What keeps no more
    than a rejected schedule, in every layer, is taken to be rejected, too.

    A question depends on G-Search's trials and those of its own before it; of the
    `concurrent_trials` - 1 last ones on their schedules alone. Its parameters are the factors.

    Attributes:
        shape: The language model.
        tokens: The calibration samples.
        seed: Of everything random.
        trials: How many there are beyond those of G-Search.

    Raises:
        InputError: A setting is out of its range.
    """

    shape: DecoderShape
    tokens: tuple[SampleTokens, ...]
    seed: int = 0
    trials: int = 16

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("trials", 1), ("seed", 0)):
            Parameter(name, least, 2**32 - 1, integer=True).check(getattr(self, name))

    @property
    def space(self) -> Space:
        """What is searched once G-Search asks nothing more."""
        return Around((0,) * self.layers, self.n_max, self.first, self.floor).space

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """Return what G-Search asks; once it asks nothing more, what may be open besides.

        Raises:
            InputError: Keep-all is not accepted against itself.
            RunError: Keep-all has failed, and `on_failure` is `continue`.
        """
        if not super().finished(history):
            return super().ask(history)
        trials, around = self._telling(history), self._around(history)
        first, asked = next_number(history), list[Question]()
        for number in range(first, first + self.concurrent_trials):
            seen = number - self.concurrent_trials
            known = [one for one in trials if one.number <= seen or not _beyond(one)]
            finished = all(one.state.finished for one in known)
            if not finished or sum(map(_beyond, trials)) + len(asked) >= self.trials:
                break
            pending = [one.schedule for one in trials if one.number > seen and _beyond(one)]
            pending += [one.schedule for one in asked]
            promising = self._promising(around, known, pending, number)
            points = chain(promising, self._at_random(around, number))
            taken = taken_by(trials) + pending
            question = self._cheaper(around, known, taken, points)
            if question is None:
                break
            asked.append(question)
        return asked

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether all trials are over, and their number is reached or nothing is cheaper."""
        opened = any(not trial.state.finished for trial in history)
        if opened or not super().finished(history):
            return False
        trials = self._telling(history)
        if sum(map(_beyond, trials)) >= self.trials:
            return True
        # Any point shows that `ask` has one; which one, takes seconds.
        around = self._around(history)
        points = self._at_random(around, next_number(history))
        found = self._cheaper(around, trials, taken_by(trials), points)
        return found is None and not self.ask(history)

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the cheapest trial on all samples that is accepted; one of a person may be it.

        Of equals the one that has lost less, then the earlier one.
        """
        accepted = [trial for trial in self._telling(history) if self._accepted(trial)]
        return min(
            accepted,
            key=lambda one: (self._cost(one.schedule), costs(one)[1], one.number),
            default=None,
        )

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the search stands; before its own trials where G-Search stands."""
        status = super().status(history)
        own = [trial for trial in self._telling(history) if _beyond(trial)]
        asked = status.asked + len(own)
        if not super().finished(history):
            return status
        opened, left = any(not one.state.finished for one in own), self.trials - len(own)
        if left <= 0 and not opened:
            return Status("finished", asked, 0)
        rounds = math.ceil(max(0, left) / self.concurrent_trials) + opened
        return Status("around the curve", asked, rounds)

    def _around(self, history: Sequence[Trial]) -> Around:
        found = super().best(history)
        assert found is not None, "G-Search has finished"
        counts = found.schedule.counts(self.n_max)
        return Around(counts, self.n_max, self.first, self.floor)

    def _promising(
        self, around: Around, known: Sequence[Trial], pending: Sequence[Schedule], number: int
    ) -> Iterator[Point]:
        from schedsearch.samplers.cheaper import Cheaper, Judged

        rule, judged = self._rule({}), list[Judged]()
        for one in known:
            if (found := full(one)) is not None:
                error = found[0].drop_standard_error or 0.0
                judged.append(Judged(one.schedule, rule.loss(found[0]), error))
            elif self._rejected(one):
                judged.append(Judged(one.schedule, None, 0.0))
        accepted = [one for one in known if _beyond(one) and self._accepted(one)]
        cheapest = sorted(accepted, key=lambda one: self._cost(one.schedule))
        yield from Cheaper(
            around,
            judged,
            pending,
            [around.space.check(one.params) for one in cheapest],  # type: ignore[arg-type]
            self.tolerance,
            self._rough_cost,
            self._limit(known),
        ).promising(self.seed, Random(f"{self.seed} {number}").getrandbits(31))

    def _at_random(self, around: Around, number: int) -> Iterator[Point]:
        rng, parameters = Random(f"{self.seed} {number} random"), around.space.parameters
        for _ in range(_TRIES):
            yield {each.name: each.at(rng.random()) for each in parameters}

    def _cheaper(
        self,
        around: Around,
        known: Sequence[Trial],
        taken: Sequence[Schedule],
        points: Iterable[Point],
    ) -> Question | None:
        """Return the first point that costs less than the best trial and is no evaluation taken."""
        limit = self._limit(known)
        rejected = [one.schedule for one in known if self._rejected(one)]
        for point in points:
            schedule = self._grid.schedule(around.counts(point))
            if (
                self._cost(schedule) < limit
                and not any(schedule.same_evaluation(other, self._lengths) for other in taken)
                and not any(_within(schedule, other) for other in rejected)
            ):
                return Question(point, schedule)
        return None

    def _limit(self, known: Sequence[Trial]) -> float:
        best = self.best(known)
        assert best is not None, "G-Search has a result"
        return self._cost(best.schedule)

    def _telling(self, history: Sequence[Trial]) -> list[Trial]:
        """Return the trials with this ranker that say something, by number."""
        own, failed = (self.ranker, self.layers), self.on_failure == "continue"
        told = [one for one in history if one.state is not TrialState.FAIL or failed]
        same = [one for one in told if (one.schedule.ranker, one.schedule.layers) == own]
        return sorted(same, key=lambda one: one.number)

    def _accepted(self, trial: Trial) -> bool:
        found = full(trial)
        return found is not None and self._rule({}).accepts(found[0])

    def _rejected(self, trial: Trial) -> bool:
        if full(trial) is not None:
            return not self._accepted(trial)
        pruned = trial.state is TrialState.PRUNED
        return pruned and self._allowed(trial.params) == self.tolerance

    @property
    def _lengths(self) -> tuple[int, ...]:
        return self.n_visions or (self.n_max,)

    @cached_property
    def _cost(self) -> Cost:
        return flops_cost(self.shape, self.tokens)

    @cached_property
    def _rough_cost(self) -> RoughCost:
        return RoughCost.of(self._cost, self.layers, self.first)


def _beyond(trial: Trial) -> bool:
    """Say whether the trial is one of those after G-Search."""
    return any(name.startswith("scale_") for name in trial.params)


def _within(schedule: Schedule, other: Schedule) -> bool:
    """Say whether the schedule keeps no more than the other in any layer."""
    return all(own <= most for own, most in zip(schedule.keep, other.keep, strict=True))
