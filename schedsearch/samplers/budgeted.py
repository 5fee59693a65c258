"""What samplers share that search the points of a family within a budget."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import ClassVar

from schedsearch.core.budget import Budget
from schedsearch.core.families import Family
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.pareto import costs, full
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.space import Parameter, Space
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.known import Known, Point, enumerated, next_number, taken_by
from schedsearch.samplers.sampler import OnFailure, Question, Status

TRIES = 64


@dataclass(frozen=True, kw_only=True)
class Budgeted(ABC):
    """Asks for points of a family's space, each with the schedule that uses the budget up.

    A trial depends on those before it alone, and of the `concurrent_trials` - 1 last ones on their
    points alone, even where their outcome is already known. So a study of several trials at once
    asks the same ones in whatever order they are measured; at most `concurrent_trials` are open.

    What loses more than the best trial is stopped; the same trials count as for a question. Trials
    that were pruned or have failed never reach a model and are not asked again.

    Attributes:
        family: Its parameters are searched.
        budget: Every schedule uses it up, as far as the family can.
        shape: The language model.
        tokens: The calibration samples. A trial answers a question when it keeps the same counts
            on all of them.
        ranker: Orders the tokens.
        seed: Of everything random.
        trials: How many trials the search has; those of a person do not count.
        concurrent_trials: How many are open at once.
        starts: Points to ask first; those that do not reach the budget are passed over.

    Raises:
        InputError: A setting is out of its range, or a start is no point of the space.
    """

    family: Family
    budget: Budget
    shape: DecoderShape
    tokens: tuple[SampleTokens, ...]
    ranker: RankerSpec = RankerSpec()
    seed: int = 0
    trials: int = 50
    concurrent_trials: int = 1
    starts: tuple[Mapping[str, float], ...] = ()

    screens: ClassVar[tuple[int, ...]] = ()
    on_failure: ClassVar[OnFailure] = "continue"
    noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("concurrent_trials", 1), ("seed", 0)):
            Parameter(name, least, 2**32 - 1, integer=True).check(getattr(self, name))
        if not self.tokens:
            raise InputError("`tokens` must name the calibration samples, but is empty; add them")
        for start in self.starts:
            self.space.check(start)

    @cached_property
    def space(self) -> Space:
        """What is searched."""
        return self.family.space(self.shape.layers)

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""
        return self.shape.layers

    @property
    def n_max(self) -> int:
        """The most vision tokens of a calibration sample."""
        return max(sample.n_vision for sample in self.tokens)

    @property
    def first(self) -> int:
        """First layer that may process fewer vision tokens than there are."""
        return self.family.first

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """Return as many questions as may be open besides those that are.

        Raises:
            InputError: No point of the space reaches the budget.
        """
        trials = _in_order(history)
        first = next_number(trials)
        taken = taken_by(trials)
        asked: list[Question] = []
        for number in range(first, first + self.concurrent_trials):
            if not all(trial.state.finished for trial in self._before(trials, number)):
                break
            known = self._known(trials, number, asked)
            if known.asked >= self.trials:
                break
            candidates = chain(self._candidates(known), self._at_random(number))
            question = self._question(known, taken, candidates)
            if question is None:
                break
            asked.append(question)
            taken.append(question.schedule)
        return asked

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether all trials are over, and their number is reached or no point is left.

        Raises:
            InputError: No point of the space reaches the budget.
        """
        if not all(trial.state.finished for trial in history):
            return False
        trials = _in_order(history)
        known = self._known(trials, next_number(trials))
        if known.asked >= self.trials:
            return True
        # Any new point shows that `ask` has one, which need not be chosen for that. Its candidates
        # are needed only where random points are in vain and are not all that there are.
        with suppress(InputError):
            if self._question(known, taken_by(trials), self._at_random(known.number)) is not None:
                return False
            if enumerated(self.space) is not None:
                return True
        return not self.ask(history)

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether the trial can no longer become the best.

        What a person has asked for is measured to its end.
        """
        own = self._point(trial) is not None
        return own and self._beaten(self._before(history, trial.number), trial, least_drop)

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the trial on all samples, within the budget, that has lost least.

        Among equals the one with less FLOPs, then the earlier one.
        """
        cost = self.budget.cost(self.shape, self.tokens)
        ranked = sorted(self._comparable(history), key=_rank)
        return next(
            (trial for trial in ranked if cost(trial.schedule) <= self._absolute.amount), None
        )

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the search stands."""
        trials = _in_order(history)
        known = self._known(trials, next_number(trials))
        opened = any(not trial.state.finished for trial in history)
        left = max(0, self.trials - known.asked)
        if not left and not opened:
            return Status("finished", known.asked, 0)
        closed = sum(trial.state.finished for trial in trials if self._point(trial) is not None)
        phase = "start" if closed < len(self.starts) else self._phase(known)
        return Status(phase, known.asked, math.ceil(left / self.concurrent_trials) + opened)

    @abstractmethod
    def _candidates(self, known: Known) -> Iterator[Point]:
        """Yield points, the most promising first, once the starts are asked."""

    def _phase(self, _known: Known) -> str:
        """Return what is being done after the starts."""
        return "search"

    def _schedule(self, point: Mapping[str, float]) -> Schedule:
        """Return the schedule that a point stands for.

        Raises:
            InputError: There is none within the budget.
        """
        # The solution takes a second where a thousand samples differ in length, and questions
        # repeat.
        budget, values = self._within(point)
        spec = (self.family, budget, self.shape, self.tokens, self.ranker)
        return _solved(*spec, tuple(values.items()))

    def _within(self, point: Mapping[str, float]) -> tuple[Budget, Mapping[str, float]]:
        """Return what a point's schedule may cost, and the family's parameters."""
        return self._absolute, point

    @cached_property
    def _absolute(self) -> Budget:
        """The budget, in the unit of the cost."""
        return self.budget.absolute(self.shape, self.tokens, self.first)

    def _beaten(self, known: Sequence[Trial], _trial: Trial, least_drop: float) -> bool:
        """Say whether a trial that loses so much at least is worse than what it may know."""
        best = self.best(known)
        return best is not None and least_drop > costs(best)[1]

    def _question(
        self, known: Known, taken: Sequence[Schedule], candidates: Iterable[Point]
    ) -> Question | None:
        """Return the first start or candidate that is in reach and no known evaluation.

        Raises:
            InputError: Nothing was asked before, and none is in reach.
        """
        tried = [point for point, _ in (*known.answered, *known.pending)]
        error: InputError | None = None
        lengths = {sample.n_vision for sample in self.tokens}
        for point in chain(map(self.space.check, self.starts), candidates):
            if point in tried:
                continue
            tried.append(point)
            try:
                schedule = self._schedule(point)
            except InputError as out_of_reach:
                error = out_of_reach
                continue
            if not any(schedule.same_evaluation(other, lengths) for other in taken):
                return Question(point, schedule)
        if error is not None and not known.asked:
            raise error
        return None

    def _at_random(self, number: int) -> Iterator[Point]:
        """Yield random points of the space: every one where they can be counted, else some."""
        rng = random.Random(f"{self.seed} {number}")
        points = enumerated(self.space)
        if points is None:
            parameters = self.space.parameters
            for _ in range(TRIES):
                yield {each.name: each.at(rng.random()) for each in parameters}
        else:
            yield from rng.sample(points, len(points))

    def _known(self, trials: Sequence[Trial], number: int, asked: Sequence[Question] = ()) -> Known:
        """Return what the question with this number depends on."""
        points = [(point, one) for one in trials if (point := self._point(one)) is not None]
        seen = number - self.concurrent_trials
        return Known(
            number,
            tuple((point, trial) for point, trial in points if trial.number <= seen),
            tuple((point, trial.schedule) for point, trial in points if trial.number > seen)
            + tuple((dict(question.params), question.schedule) for question in asked),  # type: ignore[arg-type]
        )

    def _before(self, trials: Sequence[Trial], number: int) -> list[Trial]:
        """Return the trials whose outcome the one with this number may know."""
        return [trial for trial in trials if trial.number <= number - self.concurrent_trials]

    def _comparable(self, history: Iterable[Trial]) -> list[Trial]:
        """Return the trials on all samples, with this ranker and as many layers."""
        own = (self.ranker, self.shape.layers)
        measured = [trial for trial in history if full(trial) is not None]
        return [one for one in measured if (one.schedule.ranker, one.schedule.layers) == own]

    def _point(self, trial: Trial) -> Point | None:
        """Return the point that the trial was asked for; None if a person chose its schedule."""
        try:
            return self.space.check(trial.params)  # type: ignore[arg-type]
        except InputError:
            return None


@lru_cache(maxsize=1024)
def _solved(
    family: Family,
    budget: Budget,
    shape: DecoderShape,
    tokens: tuple[SampleTokens, ...],
    ranker: RankerSpec,
    point: tuple[tuple[str, float], ...],
) -> Schedule:
    return family.schedule(dict(point), budget, shape, tokens, ranker)


def _rank(trial: Trial) -> tuple[float, float, int]:
    flops, drop = costs(trial)
    return drop, flops, trial.number


def _in_order(history: Iterable[Trial]) -> list[Trial]:
    return sorted(history, key=lambda trial: trial.number)
