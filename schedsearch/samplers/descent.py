"""The walk of G-Search over the layers: which counts to try next, given yes or no to each."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

from schedsearch.samplers.ledger import Ledger, Verdict
from schedsearch.samplers.narrowing import Counts, Method, Narrowing, Round, Settling


@dataclass(frozen=True)
class Descent:
    """Settles layers at the least accepted count; see `GSearch`, which checks the settings."""

    layers: int
    n_max: int
    first: int = 2
    method: Method = "gallop"
    concurrent_trials: int = 1
    max_passes: int = 1
    floor: int = 0
    screens: Counts = ()
    guess: Counts = ()
    slack: float = 0.0
    tolerance: float = 0.0
    leaps: bool = False

    def rounds(self) -> Generator[Round, Sequence[Verdict], Counts | None]:
        """Yield rounds and receive, for each, the verdicts on its candidates.

        Returns the counts of the result; None where keep-all is not accepted.
        """
        top = self.n_max
        settled = (top,) * self.layers
        keep_all = {"pass": 0, "layer": self.first, "count": top}
        (verdict,) = yield Round(0, self.first, top - 1, top, settled, (keep_all,), (settled,))
        if not verdict.passes:
            return None
        settled = yield from self._down(settled, self._useful(verdict.of), verdict.missed)
        for number in range(2, self.max_passes + 1):
            before = settled
            settled = yield from self._up(number, settled)
            if settled == before:
                break
        return settled

    def rounds_left(self, here: Round, spent: int) -> int:
        """Return how many rounds, `here` included, may end the pass.

        Of bisection and scan without screens and slack: the most, if no further count falls. Else
        an estimate from the `spent` rounds before `here` in this pass.
        """
        order = self._order(max(here.number, 1))
        done = order.index(here.layer) if here.number else 0
        rest = order[done + 1 :]
        within = (
            max(here.high, here.wide) - here.low if here.number else self.n_max - self.floor + 1
        )
        line = self._rounds_among(within) + len(self.screens)
        keep_all = here.number == 0
        if self.method == "gallop" or self.screens or self.slack:
            return keep_all + line + math.ceil(len(rest) * (spent + line) / (done + 2))
        whole = self.method == "bisection" and here.number <= 1
        brackets = [
            (self.n_max if whole else here.settled[layer])
            - self._below(here.number, layer, here.settled)
            for layer in rest
        ]
        return keep_all + line + sum(map(self._rounds_among, brackets))

    def _useful(self, samples: int) -> Counts:
        """Return the screens that galloping asks, of so many samples in all.

        Those that reject where every fifth sample asked is lost: others are mostly undecided.
        """
        if self.method != "gallop":
            return self.screens
        return tuple(n for n in self.screens if 5 * self.tolerance * samples <= n)

    def _down(self, settled: Counts, screens: Counts, gainful: float) -> Settling:
        """Settle from shallow to deep what layers keep together with all below them."""
        narrowing = Narrowing(self.method, self.concurrent_trials, screens, bool(self.guess))
        lines = self.layers - self.first
        ledger, in_depth = Ledger(lines * (lines + 1) / 2, gainful=gainful), Ledger()
        found: Counts = ()
        layer, above = self.first, None
        while True:
            ask = partial(self._ask, 1, layer, settled)
            expected = self._expected(layer, above, found)
            low = self._below(1, layer, settled)
            found = yield from narrowing.least(
                ask,
                low,
                settled[layer],
                found,
                expected,
                widest=self.n_max,
                ledger=ledger,
                weight=self.layers - layer,
                leap=self.leaps,
            )
            settled = self._put(1, layer, settled, found[-1])
            above, layer = layer, layer + 1
            if self.slack and layer < self.layers:
                worth = min(math.floor(found[-1] * (1 - self.slack)), found[-1] - 1)
                if worth < self.floor:
                    return settled
                ask = partial(self._ask_depth, settled, worth)
                in_depth.gainful = ledger.gainful
                *_, layer = yield from narrowing.least(
                    ask, above, self.layers, ledger=in_depth, weight=self.layers - above
                )
                settled = self._put(1, layer, settled, worth)
                found = tuple(min(count, worth) for count in found)
            if layer == self.layers:
                return settled

    def _up(self, number: int, settled: Counts) -> Settling:
        """Lower the count of single layers, from deep to shallow.

        Mostly none falls, and no screen would be enough to see it.
        """
        narrowing, ledger = (
            Narrowing(self.method, self.concurrent_trials, guessed=True),
            Ledger(self.layers - self.first),
        )
        for layer in self._order(number):
            low, high = self._below(number, layer, settled), settled[layer]
            ask = partial(self._ask, number, layer, settled)
            (count,) = yield from narrowing.least(ask, low, high, expected=high - 1, ledger=ledger)
            settled = self._put(number, layer, settled, count)
        return settled

    def _expected(self, layer: int, above: int | None, found: Counts) -> int | None:
        """Return the count that the layer probably needs; None where nothing is known.

        Curves have plateaus, unless a plateau has just been passed over.
        """
        if not self.guess:
            return found[-1] - 1 if found and not self.slack else None
        if above is None:
            return self.guess[layer]
        fall = self.guess[layer] / self.guess[above] if self.guess[above] else 1.0
        return round(found[-1] * fall)

    def _ask(
        self,
        number: int,
        layer: int,
        settled: Counts,
        low: int,
        high: int,
        tries: Counts,
        samples: int | None,
    ) -> Round:
        """Return the round that tries counts at a layer."""
        put = partial(self._put, number, layer, settled)
        params = tuple({"pass": number, "layer": layer, "count": count} for count in tries)
        return Round(number, layer, low, high, put(high), params, tuple(map(put, tries)), samples)

    def _ask_depth(
        self,
        settled: Counts,
        count: int,
        low: int,
        high: int,
        tries: Counts,
        samples: int | None,
    ) -> Round:
        """Return the round that tries from which layer on a count is enough."""
        candidates = tuple(self._put(1, layer, settled, count) for layer in tries)
        params = tuple({"pass": 1, "layer": layer, "count": count} for layer in tries)
        reached = self._put(1, high, settled, count)
        return Round(1, low, low, high, reached, params, candidates, samples, by_count=False)

    def _order(self, number: int) -> range:
        """Return the layers in the order in which a pass takes them."""
        layers = range(self.first, self.layers)
        return layers if number <= 1 else layers[::-1]

    def _below(self, number: int, layer: int, settled: Counts) -> int:
        """Return the greatest count that the layer cannot have in this pass."""
        alone = number > 1 and layer + 1 < self.layers
        return (settled[layer + 1] if alone else self.floor) - 1

    def _put(self, number: int, layer: int, settled: Counts, count: int) -> Counts:
        """Return `settled` with `count` at the layer, in the first pass also at all below it."""
        if number == 1:
            return settled[:layer] + (count,) * (self.layers - layer)
        return (*settled[:layer], count, *settled[layer + 1 :])

    def _rounds_among(self, possible: int) -> int:
        """Return how many rounds of bisection or scan single one out of `possible`, at most."""
        if self.method == "scan":
            return -(-(possible - 1) // self.concurrent_trials)
        rounds = 0
        while possible > 1:
            possible = -(-possible // (self.concurrent_trials + 1))
            rounds += 1
        return rounds
