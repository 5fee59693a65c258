"""The search along one line of schedules: the least position accepted, on few samples first."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

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
            and halves what is left. `bisection` halves, from `widest` on. `scan` goes upwards.
        questions: How many positions are tried at once.
        screens: Numbers of leading samples, ascending.
    """

    method: Method
    questions: int = 1
    screens: Counts = ()

    def least(
        self,
        ask: Ask,
        low: int,
        high: int,
        before: Counts = (),
        expected: int | None = None,
        widest: int = 0,
    ) -> Generator[Round, Sequence[bool], Counts]:
        """Yield rounds and receive, for each, which of its candidates are not rejected.

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

        Returns:
            The least position not rejected, for each screen and then for all samples.
        """
        stages = (*self.screens, None)
        bounds = list(before) or [high] * len(stages)
        cuts: Counts
        for stage, samples in enumerate(stages):
            if samples is None and self.screens and self.method == "gallop":
                bounds[stage] = yield from self._climb(ask, low, high, bounds[stage - 1])
                break
            # Of a screen this is inferred from the line before, not asked: all samples decide.
            top = bounds[stage]
            wide, cuts = max(widest, top), ()
            start = self._start(stage, bounds, before, expected)
            # Where nothing but the last step up is known, a part of it may be a guess as well.
            step = max(1, (start - bounds[stage - 1]) // 8) if start and stage and not before else 1
            at_top = start is not None and start >= top - 1
            passed = rejected = False
            while top - low > 1:
                if self.method == "scan":
                    tries = tuple(range(low + 1, min(top, low + 1 + self.questions)))
                elif self.method == "bisection":
                    wide, cuts = _cuts(low, top, wide, self.questions)
                    tries = tuple(cut for cut in cuts if cut < top)
                elif start is None or (passed and rejected):
                    tries = _evenly(low, top, self.questions)
                else:
                    tries = _steps(start, step if rejected else -step, low, top, self.questions)
                asked = replace(ask(low, high, tries, samples), wide=wide)
                answers = list(zip(tries, (yield asked), strict=True))
                top = min((position for position, yes in answers if yes), default=top)
                low = max((p for p, yes in answers if not yes and p < top), default=low)
                high = high if samples else top
                wide = min((cut for cut in cuts if cut >= top), default=wide)
                step *= 2 ** (len(tries) - 1 + (passed or rejected))
                passed = passed or any(yes for _, yes in answers)
                rejected = rejected or not all(yes for _, yes in answers)
                if start is not None:
                    # No plateau: how far below it the position lies, nothing says.
                    start = None if at_top and not stage else low + step if rejected else top - step
            bounds[stage] = top
        return tuple(min(bound, high) for bound in bounds)

    def _climb(
        self, ask: Ask, low: int, high: int, start: int
    ) -> Generator[Round, Sequence[bool], int]:
        """Find the least position accepted by all samples, from `start` upwards.

        An acceptance costs all samples, a rejection mostly the few that have lost before. So short
        steps from below cost less than halving, which is accepted every other time: an eighth
        of the way behind or of the way ahead, whichever is shorter.
        """
        position = start
        while high - low > 1:
            step = max(1, min(position - start, high - low) // 8)
            tries = _ladder(position, step, low, high, self.questions)
            answers = list(zip(tries, (yield ask(low, high, tries, None)), strict=True))
            high = min((one for one, yes in answers if yes), default=high)
            low = max((one for one, yes in answers if not yes and one < high), default=low)
            position = low + max(1, min(low - start, high - low) // 8)
        return high

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
