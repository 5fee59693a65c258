"""Axes of the plots that templates draw: where ticks lie, in percent of the picture."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schedsearch.core.space import Parameter


@dataclass(frozen=True)
class Axis:
    """One direction of a plot.

    Attributes:
        label: What it shows, with its unit.
        low: Value at its beginning.
        high: Value at its end.
        ticks: Places in percent, and the words there.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """Where a value lies, in percent; at the edge if beyond."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def down(self, value: float) -> float:
        """Where a value lies, in percent from the top."""
        return round(100 - self.at(value), 2)


def axis(label: str, values: Iterable[float], about: int = 5, whole: bool = False) -> Axis:
    """An axis that shows all values, with about so many ticks at round numbers.

    Args:
        label: What it shows, with its unit.
        values: Finite ones.
        about: How many ticks.
        whole: Whether only whole numbers mean anything.
    """
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = _round((high - low) / about)
    if whole:
        step = max(1.0, step)
    low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [low + step * i for i in range(round((high - low) / step) + 1)]
    return _axis(label, low, high, [(one, f"{one + 0.0:.{digits}f}") for one in ticks])


def counts(most: int, label: str) -> Axis:
    """From 0 to a number of tokens, whatever ticks there are between."""
    step = max(1, round(_round(most / 5)))
    apart = range(0, most - step // 2, step) or (0,)
    return _axis(label, 0, most, [(one, str(one)) for one in (*apart, most)])


def layers(count: int, label: str = "decoder layer") -> Axis:
    """An axis on which layer l takes from l to l + 1; its number stands in the middle."""
    step = max(1, math.ceil(count / 16))
    return _axis(label, 0, count, [(one + 0.5, str(one)) for one in range(0, count, step)])


def between(parameter: Parameter) -> Axis:
    """Along a parameter, from bound to bound, as samplers see it."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    return _axis(parameter.name, 0, 1, [(one, f"{parameter.at(one):.3g}") for one in shares])


def ratios(label: str) -> Axis:
    """From 0 to 1, in percent."""
    return _axis(
        label, 0, 1, [(one / 4, f"{25 * one}\N{NARROW NO-BREAK SPACE}%") for one in range(5)]
    )


def steps(keep: Sequence[float]) -> str:
    """Path of a curve over layers, in layers and ratios from the top; for a `data` picture."""
    parts = [f"M0 {_plain(1 - keep[0])}"]
    for layer, one in enumerate(keep):
        if layer and one != keep[layer - 1]:
            parts.append(f"V{_plain(1 - one)}")
        if layer + 1 == len(keep) or one != keep[layer + 1]:
            parts.append(f"H{layer + 1}")
    return "".join(parts)


def _axis(label: str, low: float, high: float, ticks: Iterable[tuple[float, str]]) -> Axis:
    made = Axis(label, low, high, ())
    return Axis(label, low, high, tuple((made.at(value), words) for value, words in ticks))


def _plain(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") or "0"


def _round(step: float) -> float:
    """The round number at or above."""
    power = 10.0 ** math.floor(math.log10(step))
    return float(next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= step * (1 - 1e-9)))
