"""The search along one line of schedules: the least position accepted, on few samples first."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from schedsearch.samplers.ledger import Ledger, Verdict

Method = Literal["gallop", "bisection", "scan"]
Counts = tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """Questions that are asked together.

    Attributes:
        number: Of the pass; 0 asks keep-all.
        layer: The layer at work.
        low: The greatest position of the line that is out of the question.
        high: The least position that is known to be accepted.
        settled: Counts of all layers, `high` on this line: accepted, and the result if the walk
            ended here.
        params: Of each question, without its samples.
        candidates: The counts of all layers, for each of `params`.
        samples: How many samples are asked; None for all of them.
        by_count: Whether the positions are counts at `layer`; else they are layers, from which on
            one count is tried.
        wide: Where the stretch ends that bisection halves, where that is above `high`.
    """

    number: int
    layer: int
    low: int
    high: int
    settled: Counts
    params: tuple[dict[str, int], ...]
    candidates: tuple[Counts, ...]
    samples: int | None = None
    by_count: bool = True
    wide: int = 0


Ask = Callable[[int, int, Counts, int | None], Round]
"""Makes a round of `low`, `high`, the positions to try between them, and `samples`."""


Settling = Generator[Round, Sequence[Verdict], Counts]
Asking = Generator[Round, Sequence[Verdict], None]


@dataclass
class _Line:
    """A line at work.

    Attributes:
        ask: Makes its rounds.
        low: The greatest position that is out of the question.
        high: The least position that is known to be accepted.
        widest: Where bisection begins to halve.
        ledger: Takes what the line costs.
        weight: What a question costs, in units of the ledger.
    """

    ask: Ask
    low: int
    high: int
    widest: int
    ledger: Ledger
    weight: float

    @property
    def open(self) -> bool:
        """Whether positions are left between `low` and `high`."""
        return self.high - self.low > 1

    def put(
        self, tries: Counts, samples: int | None = None, top: int = 0, wide: int = 0
    ) -> Generator[Round, Sequence[Verdict], tuple[int, list[bool]]]:
        """Ask some positions and take the answers.

        Args:
            tries: The positions, ascending.
            samples: How many samples are asked; None for all of them.
            top: The least position that these samples do not reject; 0 for `high`.
            wide: As in `Round`.

        Returns:
            `top` as it is now, and which of the positions are not rejected.
        """
        top = top or self.high
        asked = replace(self.ask(self.low, self.high, tries, samples), wide=wide)
        verdicts = yield asked
        self.ledger.learn(tries, verdicts, samples)
        passed = [verdict.passes for verdict in verdicts]
        answers = list(zip(tries, passed, strict=True))
        top = min((position for position, yes in answers if yes), default=top)
        self.low = max((p for p, yes in answers if not yes and p < top), default=self.low)
        if samples is None:
            self.high = top
        return top, passed


@dataclass(frozen=True)
class Narrowing:
    """Finds the least accepted position of a line on which a greater position keeps more.

    It goes through stages: each screen, which is so many leading samples, then all samples. What
    a screen rejects is rejected for good, what it does not is undecided. A stage looks for the
    least position that it does not reject, and only above what is rejected already: the next
    stage, which costs more, starts close to its own. Under nesting the screens change nothing in
    the result, and without it the result is still accepted, the position below it still rejected.

    Attributes:
        method: `gallop` starts at the position expected, moves away from it in steps that double,
            and halves what is left; where the ledger says that this does not pay, it asks what
            bisection asks. `bisection` halves, from `widest` on. `scan` goes upwards.
        concurrent_trials: How many positions are tried at once.
        screens: Numbers of leading samples, ascending.
        guessed: Whether what is expected comes from outside; else it is that nothing changes.
    """

    method: Method
    concurrent_trials: int = 1
    screens: Counts = ()
    guessed: bool = False

    def least(
        self,
        ask: Ask,
        low: int,
        high: int,
        before: Counts = (),
        expected: int | None = None,
        widest: int = 0,
        ledger: Ledger | None = None,
        weight: float = 1.0,
        leap: bool = False,
    ) -> Settling:
        """Yield rounds and receive, for each, the verdicts on its candidates.

        Args:
            ask: Makes the round.
            low: The greatest position that is out of the question.
            high: An accepted position.
            before: What this returned for a line that keeps less than this one at each position;
                empty where there is none.
            expected: The position that is probably the result; None where nothing is expected.
            widest: A position from which on all stand for `high`, as where no layer may keep more
                than the one above: bisection halves from here, so that it asks the same whatever
                that one keeps. 0 for `high` itself.
            ledger: Of the lines before; takes what this one costs.
            weight: What a question of this line costs, in units of the ledger.
            leap: Whether galloping asks the least position first. Nothing can change the result by
                more, and where all differences are noise nothing else needs asking.

        Returns:
            The least position not rejected, for each screen and then for all samples.
        """
        line = _Line(ask, low, high, max(widest, high), ledger or Ledger(), weight)
        bounds = list(before) or [high] * (len(self.screens) + 1)
        if self.method == "gallop":
            if leap and line.open:
                rest = _evenly(low + 1, high, self.concurrent_trials - 1)
                yield from line.put((low + 1, *rest))
            if line.open:
                yield from self._gallop(line, bounds, before, expected)
        else:
            for stage, samples in enumerate((*self.screens, None)):
                yield from self._stage(line, stage, samples, bounds, before, expected)
        told = _halved(low, high, line.widest, line.high, self.concurrent_trials)
        line.ledger.settle(told, weight, line.high == high if before else None)
        return tuple(min(bound, line.high) for bound in bounds)

    def _gallop(
        self, line: _Line, bounds: list[int], before: Counts, expected: int | None
    ) -> Asking:
        """Find the least position accepted; `bounds` takes what each stage has found."""
        ledger = line.ledger
        behind = ledger.behind
        patience = ledger.patience(line.widest - line.low)
        last = len(self.screens)
        screened = bool(self.screens) and ledger.screens_pay and not behind
        for stage, samples in enumerate(self.screens):
            if screened:
                yield from self._stage(line, stage, samples, bounds, before, expected)
                screened = ledger.screens_pay
        if screened:
            yield from self._climb(line, bounds[last - 1], patience)
        elif self.guessed and expected is not None and not behind:
            yield from self._stage(line, last, None, bounds, (), expected)
        else:
            yield from self._halve(line, from_top=expected is not None)
        bounds[last] = line.high
        if not screened:
            bounds[:last] = [line.high] * last

    def _stage(
        self,
        line: _Line,
        stage: int,
        samples: int | None,
        bounds: list[int],
        before: Counts,
        expected: int | None,
    ) -> Asking:
        """Find the least position that so many samples do not reject."""
        # Of a screen this is inferred from the line before, not asked: all samples decide.
        top = bounds[stage]
        wide, cuts = max(line.widest, top), Counts()
        start = self._start(stage, bounds, before, expected)
        # Where nothing but the last step up is known, a part of it may be a guess as well.
        step = max(1, (start - bounds[stage - 1]) // 8) if start and stage and not before else 1
        at_top = start is not None and start >= top - 1
        passed = rejected = False
        while top - line.low > 1:
            if self.method == "scan":
                tries = tuple(range(line.low + 1, min(top, line.low + 1 + self.concurrent_trials)))
            elif self.method == "bisection":
                wide, cuts = _cuts(line.low, top, wide, self.concurrent_trials)
                tries = tuple(cut for cut in cuts if cut < top)
            elif start is None or (passed and rejected):
                tries = _evenly(line.low, top, self.concurrent_trials)
            else:
                tries = _steps(
                    start, step if rejected else -step, line.low, top, self.concurrent_trials
                )
            top, answers = yield from line.put(tries, samples, top, wide)
            if self.method == "gallop" and samples and not line.ledger.screens_pay:
                return
            wide = min((cut for cut in cuts if cut >= top), default=wide)
            step *= 2 ** (len(tries) - 1 + (passed or rejected))
            passed = passed or any(answers)
            rejected = rejected or not all(answers)
            if start is not None:
                # No plateau: how far below it the position lies, nothing says.
                start = (
                    None if at_top and not stage else line.low + step if rejected else top - step
                )
        bounds[stage] = top

    def _halve(self, line: _Line, from_top: bool) -> Asking:
        """Ask what bisection asks; before that, where it pays, whether nothing has changed."""
        wide = line.widest
        if from_top and line.open:
            told = _halved(line.low, line.high, wide, line.high, self.concurrent_trials)
            if line.ledger.plateau_pays(len(told)):
                tries = _steps(line.high - 1, -1, line.low, line.high, self.concurrent_trials)
                _, passed = yield from line.put(tries)
                line.ledger.try_plateau(len(told), line.weight, not any(passed))
        while line.open:
            wide, cuts = _cuts(line.low, line.high, wide, self.concurrent_trials)
            yield from line.put(tuple(cut for cut in cuts if cut < line.high), wide=wide)
            wide = min((cut for cut in cuts if cut >= line.high), default=wide)

    def _climb(self, line: _Line, start: int, patience: float) -> Asking:
        """Find the least position accepted by all samples, from `start` upwards.

        An acceptance costs all samples, a rejection mostly the few that have lost before. So short
        steps from below cost less than halving, which is accepted every other time: a part of the
        way behind or of the way ahead, whichever is shorter.
        """
        position, ledger = start, line.ledger
        while line.open:
            step = ledger.step(position - start, line.high - line.low, patience)
            tries = _ladder(position, step, line.low, line.high, self.concurrent_trials)
            yield from line.put(tries)
            ahead = line.high - line.low
            position = line.low + ledger.step(line.low - start, ahead, patience)

    def _start(
        self, stage: int, bounds: Sequence[int], before: Counts, expected: int | None
    ) -> int | None:
        """Return the position to try first; None where cutting evenly promises more."""
        if self.method != "gallop":
            return None
        if stage and before and before[stage - 1]:
            # The same samples decide on both lines: the stages lie as far apart.
            return round(bounds[stage - 1] * before[stage] / before[stage - 1])
        if expected is not None:
            return round(before[0] * expected / before[-1]) if before and before[-1] else expected
        if stage < 2:
            return bounds[0] if stage else None
        return 2 * bounds[stage - 1] - bounds[stage - 2]


def _halved(low: int, high: int, widest: int, need: int, n: int) -> list[bool]:
    """Return what bisection would be told on its way to a position."""
    wide, told = max(widest, high), []
    while high - low > 1:
        wide, cuts = _cuts(low, high, wide, n)
        tries = [cut for cut in cuts if cut < high]
        told += [cut >= need for cut in tries]
        high = min((cut for cut in tries if cut >= need), default=high)
        low = max((cut for cut in tries if cut < need), default=low)
        wide = min((cut for cut in cuts if cut >= high), default=wide)
    return told


def _cuts(low: int, top: int, wide: int, n: int) -> tuple[int, Counts]:
    """Cut what lies between `low` and `wide`, and what is left of it, until one falls below `top`.

    Returns:
        What was cut at last, and where; from `top` on all are known to be accepted.
    """
    while (cuts := _evenly(low, wide, n))[0] >= top:
        wide = cuts[0]
    return wide, cuts


def _evenly(low: int, high: int, n: int) -> Counts:
    """Return up to `n` positions that cut what lies between `low` and `high` evenly."""
    n = min(n, high - low - 1)
    return tuple(low + (high - low) * i // (n + 1) for i in range(1, n + 1))


def _ladder(start: int, step: int, low: int, high: int, n: int) -> Counts:
    """Return up to `n` positions between `low` and `high`: from `start` upwards in equal steps."""
    positions = {min(high - 1, max(low + 1, start + step * i)) for i in range(n)}
    return tuple(sorted(positions))


def _steps(start: int, step: int, low: int, high: int, n: int) -> Counts:
    """Return up to `n` positions between `low` and `high`: `start`, then away in doubling steps."""
    positions = {start + step * (2**i - 1) for i in range(n)}
    return tuple(sorted({min(high - 1, max(low + 1, position)) for position in positions}))
