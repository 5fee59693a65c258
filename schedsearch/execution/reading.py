"""In which order samples are read, so that few of them decide."""

import math
from collections.abc import Iterable, Mapping, Sequence

from schedsearch.core.trial import SampleScore

# Samples that can gain are probed if they are at most one in so many.
_FEW = 16


class Reading:
    """The order of the samples, and the few that are asked before all others.

    First come samples on which a schedule could gain on keep-all, the most gainful in front: once
    they are read nothing is left to be gained, and a loss is certain as soon as it is too large.
    Then calibration order. The probes are those first samples, if they are few, and some that have
    lost under the mildest schedules; who loses on too many of them is rejected at once.

    Both follow from what was read before, in the order of the trials, and change no verdict.

    Args:
        full: Keep-all's scores of all samples, in calibration order.
        greatest: No score is above this. Without a bound nothing is ever certain early: then
            calibration order, and no probes.
    """

    def __init__(self, full: Sequence[SampleScore], greatest: float) -> None:
        self._bounded = math.isfinite(greatest)
        ordered = sorted(full, key=lambda one: one.score) if self._bounded else full  # stable
        self.order = tuple(one.sample_id for one in ordered)
        self._full = {one.sample_id: one.score for one in full}
        self._place = {name: place for place, name in enumerate(self.order)}
        self._mildest: dict[str, float] = {}
        self._enough = 0
        gainful = tuple(one.sample_id for one in ordered if one.score < greatest)
        self.gainful = len(gainful)
        self._gainful = gainful if len(gainful) <= len(full) // _FEW else ()

    @property
    def probes(self) -> tuple[str, ...]:
        """Samples on which something can be gained, then those that were the first to lose.

        Of the latter twice as many as have been enough for a rejection.
        """
        known = sorted(self._mildest, key=lambda name: (-self._mildest[name], self._place[name]))
        losers = known[: max(1, 2 * self._enough)]
        return tuple(dict.fromkeys([*self._gainful, *losers])) if losers else ()

    def first(self, samples: int | None) -> tuple[str, ...]:
        """So many of those that can lose alone, after all that can gain; None for all samples."""
        return self.order if samples is None else self.order[: self.gainful + samples]

    def losers(self, scores: Iterable[SampleScore]) -> list[SampleScore]:
        """Those that score less than under keep-all."""
        return [one for one in scores if one.score < self._full[one.sample_id]]

    def learn(self, scores: Iterable[SampleScore], flops_ratio: float, enough: int = 0) -> None:
        """Remember who has lost under a schedule.

        Args:
            scores: Under the schedule.
            flops_ratio: Of the schedule: how mild it is.
            enough: How many of the losers would have been enough to reject it; 0 if it was not.
        """
        for one in self.losers(scores) if self._bounded else ():
            former = self._mildest.get(one.sample_id, 0.0)
            self._mildest[one.sample_id] = max(former, flops_ratio)
        if enough:
            self._enough = min(self._enough or enough, enough)

    def expected_drop(self, scores: Sequence[SampleScore]) -> float:
        """Estimate of the mean drop over all samples from the first ones in reading order.

        All that can gain count as they are; of the others those read stand for all.
        """
        drops = [self._full[one.sample_id] - one.score for one in scores]
        gainful, others = drops[: self.gainful], drops[self.gainful :]
        left = len(self._full) - len(gainful)
        rest = left * math.fsum(others) / len(others) if others else 0.0
        return (math.fsum(gainful) + rest) / len(self._full)

    def calibration_order(self, scores: Iterable[SampleScore]) -> list[SampleScore]:
        """The scores as the calibration set orders its samples."""
        by_id: Mapping[str, SampleScore] = {one.sample_id: one for one in scores}
        return [by_id[name] for name in self._full if name in by_id]
