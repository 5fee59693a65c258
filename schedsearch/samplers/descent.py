"""The walk of G-Search over the layers: which counts to try next, given yes or no to each."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["bisection", "scan"]
Counts = tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """Questions that are asked together.

    Attributes:
        number: Of the pass; 0 asks keep-all.
        layer: The layer at work.
        low: The greatest count that is out of the question.
        high: The least count that is known to be accepted.
        settled: Counts of all layers, `high` at this one: accepted, and the result if the walk
            ended here.
        tries: Counts to try at the layer, ascending.
        candidates: The counts of all layers, for each of `tries`.
    """

    number: int
    layer: int
    low: int
    high: int
    settled: Counts
    tries: Counts
    candidates: tuple[Counts, ...]


@dataclass(frozen=True)
class Descent:
    """Settles layers at the least accepted count; see `GSearch`, which checks the settings."""

    layers: int
    n_max: int
    first: int = 2
    method: Method = "bisection"
    questions: int = 1
    max_passes: int = 1
    floor: int = 0

    def rounds(self) -> Generator[Round, Sequence[bool], Counts | None]:
        """Yield rounds and receive, for each, which of its candidates are accepted.

        Returns the counts of the result; None where keep-all is not accepted.
        """
        top = self.n_max
        settled = (top,) * self.layers
        if not all((yield Round(0, self.first, top - 1, top, settled, (top,), (settled,)))):
            return None
        for number in range(1, self.max_passes + 1):
            before = settled
            for layer in self._order(number):
                settled = yield from self._settle(number, layer, settled)
            if settled == before:
                break
        return settled

    def rounds_left(self, here: Round) -> int:
        """Return how many rounds, `here` included, end the pass if no further count falls."""
        order = self._order(max(here.number, 1))
        rest = order[order.index(here.layer) + 1 :] if here.number else order
        possible = [here.high - here.low] + [
            here.settled[layer] - self._below(here.number, layer, here.settled) for layer in rest
        ]
        return sum(map(self._rounds_among, possible)) + (here.number == 0)

    def _settle(
        self, number: int, layer: int, settled: Counts
    ) -> Generator[Round, Sequence[bool], Counts]:
        """Find the layer's count; `settled`, and what this returns, are accepted."""
        low, high = self._below(number, layer, settled), settled[layer]
        while tries := self._cut(low, high):
            candidates = tuple(self._put(number, layer, settled, count) for count in tries)
            accepted = yield Round(number, layer, low, high, settled, tries, candidates)
            answers = list(zip(tries, accepted, strict=True))
            high = min((count for count, yes in answers if yes), default=high)
            low = max((count for count, yes in answers if not yes and count < high), default=low)
            settled = self._put(number, layer, settled, high)
        return settled

    def _order(self, number: int) -> range:
        """Return the layers in the order in which a pass takes them."""
        layers = range(self.first, self.layers)
        return layers if number == 1 else layers[::-1]

    def _below(self, number: int, layer: int, settled: Counts) -> int:
        """Return the greatest count that the layer cannot have in this pass."""
        alone = number > 1 and layer + 1 < self.layers
        return (settled[layer + 1] if alone else self.floor) - 1

    def _put(self, number: int, layer: int, settled: Counts, count: int) -> Counts:
        """Return `settled` with `count` at the layer, in the first pass also at all below it."""
        if number == 1:
            return settled[:layer] + (count,) * (self.layers - layer)
        return (*settled[:layer], count, *settled[layer + 1 :])

    def _cut(self, low: int, high: int) -> Counts:
        """Return the counts to try next out of those between `low` and `high`, both excluded."""
        n = min(self.questions, high - low - 1)
        if self.method == "scan":
            return tuple(range(low + 1, low + 1 + n))
        return tuple(low + (high - low) * i // (n + 1) for i in range(1, n + 1))

    def _rounds_among(self, possible: int) -> int:
        """Return how many rounds single one count out of `possible`, at most."""
        if self.method == "scan":
            return -(-(possible - 1) // self.questions)
        rounds = 0
        while possible > 1:
            possible = -(-possible // (self.questions + 1))
            rounds += 1
        return rounds
