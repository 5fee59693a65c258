"""What the lines of a walk have cost, beside what bisection would have paid for them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Verdict(NamedTuple):
    """The answer to a question of a walk.

    Attributes:
        passes: Whether the samples asked do not reject the candidate.
        read: How many samples were read until that was certain.
        of: How many samples there are.
        missed: Of keep-all, `Measurement.missed`: where a schedule could gain.
    """

    passes: bool
    read: int = 1
    of: int = 1
    missed: float = 0.0

    @property
    def share(self) -> float:
        """Of the samples that were read."""
        return self.read / self.of


# With a greater share of samples that can gain, which every screen reads first, none pays.
_GAINFUL = 0.05

# How far behind bisection a walk may be before it bisects, as a share of bisection's whole cost.
_LAG = 0.025

# What rejections of a climb may cost once it is known who loses, in passes.
_PATIENCE = 0.5

# What a rejection by samples that have not lost before takes at most, in passes.
_STRANGE = 0.5


@dataclass
class Ledger:
    """Costs in passes over all samples, times the layers that a question runs.

    Attributes:
        left: What the lines to come will cost bisection at least, as far as that can be told.
        own: Of all lines so far.
        halving: What bisection would have paid for the same results.
        rejection: Share of the samples that a rejection by all samples takes, as of late.
        least: The least of these shares so far.
        gainful: Share of the samples that a screen reads because they can gain, as far as it is
            known.
        lines: Lines settled below another one.
        plateaus: Those of them that kept the position of the line above.
        spared: What it has saved to ask first whether a line keeps that position.
    """

    left: float = 0.0
    own: float = 0.0
    halving: float = 0.0
    rejection: float = 0.0
    least: float = 1.0
    gainful: float = 0.0
    lines: int = 0
    plateaus: int = 0
    spared: float = 0.0
    _line: dict[int, float] = field(default_factory=dict)
    _wasted: float = 0.0
    _telling: bool = True

    @property
    def behind(self) -> bool:
        """Whether the walk has cost noticeably more than bisection would have."""
        return self.own > self.halving + _LAG * (self.halving + self.left)

    @property
    def screens_pay(self) -> bool:
        """Whether a screen costs little beside all samples, and the climb behind it as well."""
        return self.gainful <= _GAINFUL and self._telling

    def patience(self, positions: int) -> float:
        """Return what the rejections of a climb may cost, in passes, before its steps double.

        On the first line those who lose are read for the first time; on a fine grid, where halving
        asks more, that may take longer.
        """
        return _PATIENCE if self.halving else max(_PATIENCE, math.log2(positions) / 3)

    def step(self, behind: int, ahead: int, patience: float) -> int:
        """Return how far a climb goes next: an eighth of the way behind, or ahead if that is less.

        Once its rejections have cost more than `patience`, the steps double.
        """
        if self._wasted > patience:
            return max(1, min(behind, ahead // 2))
        return max(1, min(behind, ahead) // 8)

    def learn(self, tries: Sequence[int], verdicts: Sequence[Verdict], samples: int | None) -> None:
        """Take the answers of a round; samples that a screen has read are read once."""
        for position, verdict in zip(tries, verdicts, strict=True):
            self._line[position] = max(self._line.get(position, 0.0), verdict.share)
            if samples is not None and verdict.passes:
                self.gainful = (verdict.read - samples) / verdict.of
            elif samples is None and not verdict.passes:
                self._wasted += verdict.share
                self.least = min(self.least, verdict.share)
                known = self.rejection or verdict.share
                self.rejection = (3 * known + verdict.share) / 4

    def settle(self, halving: Sequence[bool], weight: float, plateau: bool | None) -> None:
        """Close the line at work.

        Args:
            halving: What bisection would have been told on its way to the same result.
            weight: Layers that a question of the line runs.
            plateau: Whether the line above has the same position; None where there is none.
        """
        if self.halving and self._wasted > _PATIENCE:
            self._telling = False
        no = halving.count(False)
        # On the first line those who lose are read for the first time, whichever way it takes.
        learning = min(self._wasted, _STRANGE * no) if not self.halving else 0.0
        self.own += weight * math.fsum(self._line.values())
        self.halving += weight * (len(halving) - no + max(self.least * no, learning))
        self.left = max(0.0, self.left - weight)
        self._line, self._wasted = {}, 0.0
        if plateau is not None:
            self.lines += 1
            self.plateaus += plateau

    def plateau_pays(self, rejections: int) -> bool:
        """Whether to ask first if the line keeps the position of the line above.

        If it does, that spares bisection's `rejections` but for one; else it costs an acceptance.
        """
        chance = (self.plateaus + 1) / (self.lines + 2)
        pays = chance * (rejections - 1) * self.rejection >= 1 - chance
        return pays and (self.spared >= 0 or not self.behind)

    def try_plateau(self, rejections: int, weight: float, plateau: bool) -> None:
        """Take what it has brought to ask first."""
        self.spared += weight * ((rejections - 1) * self.rejection if plateau else -1.0)
