"""A frontier that follows from what single cuts cost, of which a few schedules are measured."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from schedsearch.core.budget import MEASURES, Budget, Measure
from schedsearch.core.canonical import is_number
from schedsearch.core.flops import Cost, DecoderShape, SampleTokens
from schedsearch.core.pareto import costs, full, pareto
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.shown import shown
from schedsearch.core.space import Parameter
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.answers import Answers, Grid
from schedsearch.samplers.predicted import Predicted, evenly, predicted_frontier
from schedsearch.samplers.sampler import OnFailure, Question, Status
from schedsearch.samplers.single_cuts import SingleCuts

_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Round:
    """Schedules to try next, and how many rounds there may be from here on."""

    tries: tuple[Predicted, ...]
    left: int


_Rounds = Generator[_Round, Sequence[Trial], None]


@dataclass(frozen=True, kw_only=True)
class Additive:
    """Measures a few schedules of the frontier that the costs of single cuts predict.

    The frontier is exact for that prediction, on a grid of some 32 counts; see `allocations`. What
    it says of quality is believed of its order alone: the result is chosen by what was measured.

    * Under a budget the schedule that should lose least comes first, then cheaper ones, in equal
      steps of the cost; the result has lost least.
    * With `max_drop` keep-all comes first, which is measured anyway. Then the frontier is halved
      by cost, between the cheapest schedule that has lost at most `max_drop` and the dearest
      cheaper one that has lost more; the result is the cheapest that has not.

    Questions come in rounds of `concurrent_trials`. The parameter of a question is `predicted`,
    the loss of its cuts together.

    Attributes:
        cuts: What single cuts lose.
        shape: The language model.
        tokens: The calibration samples.
        ranker: Orders the tokens.
        budget: The most that a schedule may cost; None where `max_drop` is given.
        max_drop: What the result may lose, in the unit of the metric; None where `budget` is given.
        trials: How many schedules are tried at most; those of a person do not count.
        concurrent_trials: How many are open at once.

    Raises:
        InputError: A setting is out of its range, or the cuts are of another model.
    """

    cuts: SingleCuts
    shape: DecoderShape
    tokens: tuple[SampleTokens, ...]
    ranker: RankerSpec = RankerSpec()
    budget: Budget | None = None
    max_drop: float | None = None
    trials: int = 8
    concurrent_trials: int = 1

    name: ClassVar[str] = "additive"
    screens: ClassVar[tuple[int, ...]] = ()
    on_failure: ClassVar[OnFailure] = "continue"
    noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        for name in ("trials", "concurrent_trials"):
            Parameter(name, 1, 2**32 - 1, integer=True).check(getattr(self, name))
        if not self.tokens:
            raise InputError("`tokens` must name the calibration samples, but is empty; add them")
        if self.cuts.layers != self.shape.layers:
            raise InputError(
                f"single cuts must be those of a model of {self.shape.layers} layers, but got "
                f"{self.cuts.layers}; measure those of this model"
            )
        if (self.budget is None) == (self.max_drop is None):
            raise InputError(
                "a search needs either `budget` or `max_drop`, but got both or none; give one"
            )
        drop = self.max_drop
        if drop is not None and not (is_number(drop) and 0 <= drop < math.inf):
            raise InputError(
                f"`max_drop` must be a number from 0 up, but got {shown(drop)}; write what the "
                f"result may lose, in the unit of the metric"
            )
        if self.budget is not None:
            check_reach(self.budget, self.shape, self.tokens, self.first)

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""
        return self.shape.layers

    @property
    def n_max(self) -> int:
        """The most vision tokens of a calibration sample."""
        return self._grid.n_max

    @property
    def first(self) -> int:
        """First layer that may process fewer vision tokens than there are."""
        return self.cuts.first

    @cached_property
    def frontier(self) -> tuple[Predicted, ...]:
        """Schedules than which none costs and loses less, as single cuts predict; cost rising."""
        return predicted_frontier(self.cuts, self._measure, self.shape, self.tokens)

    def ask(self, history: Sequence[Trial]) -> list[Question]:
        """Return the questions of the present round that have no trial yet."""
        answers = self._answers(history)
        here, _ = self._replay(answers)
        return [
            Question({"predicted": round(one.loss, 6)}, self._grid.schedule(one.counts))
            for one in (here.tries if here else ())
            if answers.to(one.counts, None) is None
        ]

    def finished(self, history: Sequence[Trial]) -> bool:
        """Say whether no round is left."""
        return self._replay(self._answers(history))[0] is None

    def hopeless(self, history: Sequence[Trial], trial: Trial, least_drop: float) -> bool:
        """Say whether the trial loses more than `max_drop`, or than the best that it may know.

        Keep-all, and what a person has asked for, are measured to their end.
        """
        if trial.enqueued or min(trial.schedule.keep) == 1:
            return False
        if self.max_drop is not None:
            return least_drop > self.max_drop
        latest = trial.number - self.concurrent_trials
        best = self.best([one for one in history if one.number <= latest])
        return best is not None and least_drop > costs(best)[1]

    def best(self, history: Sequence[Trial]) -> Trial | None:
        """Return the trial on all samples that is the result; one of a person may be it.

        Under a budget the one within it that has lost least, among equals the cheaper one. Else the
        cheapest that has lost at most `max_drop`; where none has, the one that has lost least.
        """
        own = (self.ranker, self.layers)
        measured = [one for one in history if full(one) is not None]
        known = [one for one in measured if (one.schedule.ranker, one.schedule.layers) == own]
        if self.max_drop is not None:
            front = pareto(known)
            cheap = (one for one in front if costs(one)[1] <= self.max_drop)
            return next(cheap, front[-1] if front else None)
        within = [one for one in known if self._cost(one.schedule) <= self._amount]
        return min(within, key=lambda one: (*costs(one)[::-1], one.number), default=None)

    def status(self, history: Sequence[Trial]) -> Status:
        """Return where the search stands."""
        here, asked = self._replay(self._answers(history))
        if here is None:
            return Status("finished", asked, 0)
        return Status("frontier", asked, here.left)

    def _rounds(self) -> _Rounds:
        return self._down() if self.max_drop is None else self._between(self.max_drop)

    def _down(self) -> _Rounds:
        """Yield the schedules at equal steps of the cost, from the budget down."""
        line = [one for one in self.frontier if one.cost <= self._amount + _ROUNDING]
        while self._cost(self._grid.schedule(line[-1].counts)) > self._amount:
            line.pop()
        prices = [one.cost for one in line]
        places = evenly(prices, range(len(line)), prices[0], prices[-1], self.trials)
        tries = [line[at] for at in reversed(places)]
        for start in range(0, len(tries), self.concurrent_trials):
            left = math.ceil((len(tries) - start) / self.concurrent_trials)
            yield _Round(tuple(tries[start : start + self.concurrent_trials]), left)

    def _between(self, max_drop: float) -> _Rounds:
        """Halve what lies between the cheapest that is good and the dearest below that is not."""
        everything = Predicted((self.n_max,) * self.layers, 1.0, 0.0)
        line = [one for one in self.frontier if one.counts != everything.counts] + [everything]
        prices = [one.cost for one in line]
        good, bad, left = len(line) - 1, -1, self.trials
        places = [good]
        while places:
            found = yield _Round(tuple(line[at] for at in places), self._left(good - bad, left))
            left -= len(places)
            passes = [full(one) is not None and costs(one)[1] <= max_drop for one in found]
            good = min([good, *(at for at, fine in zip(places, passes, strict=True) if fine)])
            bad = max([bad, *(at for at in places if at < good)])
            inside = range(bad + 1, good)
            asked = min(self.concurrent_trials, left, len(inside))
            low, high = prices[max(bad, 0)], prices[good]
            step = (high - low) / (asked + 1)
            places = evenly(prices, inside, low, high - step, asked)

    def _left(self, possible: int, questions: int) -> int:
        """Return the rounds that halve so many places, at most those with so many questions."""
        halving = math.ceil(math.log(possible, self.concurrent_trials + 1)) + 1
        return min(halving, math.ceil(questions / self.concurrent_trials))

    def _replay(self, answers: Answers) -> tuple[_Round | None, int]:
        """Return the first round that is not answered, and how many questions have a trial."""
        rounds, asked = self._rounds(), set[int]()
        here: _Round | None = next(rounds)
        while here is not None:
            known = [answers.to(one.counts, None) for one in here.tries]
            trials = [one for one in known if one is not None]
            asked.update(one.number for one in trials)
            if sum(one.state.finished for one in trials) < len(known):
                break
            try:
                here = rounds.send(trials)
            except StopIteration:
                here = None
        return here, len(asked)

    def _answers(self, history: Sequence[Trial]) -> Answers:
        return Answers(self._grid, history, failed=True)

    @cached_property
    def _grid(self) -> Grid:
        lengths = tuple(sorted({sample.n_vision for sample in self.tokens}))
        return Grid(self.layers, lengths[-1], lengths, self.ranker)

    @cached_property
    def _absolute(self) -> Budget:
        budget = self.budget or Budget("flops", 1.0)
        return budget.absolute(self.shape, self.tokens, self.first)

    @property
    def _amount(self) -> float:
        return self._absolute.amount

    @property
    def _measure(self) -> Measure:
        return self._absolute.measure

    @cached_property
    def _cost(self) -> Cost:
        return self._measure.cost(self.shape, self.tokens)


def check_reach(
    budget: Budget, shape: DecoderShape, tokens: Sequence[SampleTokens], first: int
) -> None:
    """Refuse a budget that is not the sum of what layers cost, or that no schedule is within.

    Raises:
        InputError: See above; the message names what is in reach.
    """
    if budget.measure not in MEASURES.values():
        raise InputError(
            f"`budget` must be one of {', '.join(MEASURES)}, which add up over the layers, but got "
            f"{shown(budget.measure.name)}; choose one"
        )
    limit = budget.absolute(shape, tokens, first).amount
    nothing = Schedule((1.0,) * first + (0.0,) * (shape.layers - first))
    least = budget.cost(shape, tokens)(nothing)
    if limit < least:
        raise InputError(
            f"`budget` must be at least {least:.4f}, the least that any schedule reaches, but got "
            f"{shown(limit)}; allow that much"
        )
