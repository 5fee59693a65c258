"""In which order samples are read, so that few of them decide."""

import math
from collections.abc import Iterable, Mapping, Sequence

from schedsearch.core.trial import SampleScore

_SHARE = 64


class Reading:
    """The order of the samples, and the few that are asked before all others.

    First come samples on which a schedule could gain on keep-all, the most gainful in front: once
    they are read nothing is left to be gained, and a loss is certain as soon as it is too large.
    Then calibration order. The probes are samples that have lost under the mildest schedules; who
    loses on too many of them is rejected at once.

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
        self._sufficient = 0

    @property
    def probes(self) -> tuple[str, ...]:
        """The first to lose in front; one sample in 64, or twice as many as a rejection takes."""
        known = sorted(self._mildest, key=lambda name: (-self._mildest[name], self._place[name]))
        return tuple(known[: max(1, len(self.order) // _SHARE, 2 * self._sufficient)])

    def learn(self, scores: Iterable[SampleScore], flops_ratio: float, rejected: bool) -> None:
        """Remember who has lost under a schedule, how mild it was, and how many were enough."""
        lost = [one.sample_id for one in scores if one.score < self._full[one.sample_id]]
        for name in lost if self._bounded else ():
            self._mildest[name] = max(self._mildest.get(name, 0.0), flops_ratio)
        if rejected and lost:
            self._sufficient = min(self._sufficient or len(lost), len(lost))

    def calibration_order(self, scores: Iterable[SampleScore]) -> list[SampleScore]:
        """The scores as the calibration set orders its samples."""
        by_id: Mapping[str, SampleScore] = {one.sample_id: one for one in scores}
        return [by_id[name] for name in self._full if name in by_id]
