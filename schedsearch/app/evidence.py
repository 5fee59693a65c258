"""What the drops of samples prove, whether or not the samples share images or belong to tasks."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from schedsearch.app.splits import groups
from schedsearch.core import intervals, power
from schedsearch.core.bounds import Flips, Losses
from schedsearch.core.certificate import Demands
from schedsearch.core.intervals import Interval
from schedsearch.core.sample import SampleSet
from schedsearch.core.shown import shown
from schedsearch.core.subject import Subject
from schedsearch.errors import DataError, RunError

EXACT = "exact bound for paired 0/1 scores, fixed sequence"
BETTING = "betting bound (arXiv 2010.09686), fixed sequence"
CLUSTERED = "betting bound (arXiv 2010.09686) over images, fixed sequence"


@dataclass(frozen=True)
class Evidence:
    """How drops become bounds: which samples are units, and which are asked for what.

    Attributes:
        demands: Tolerance of each part of the claim, and where its samples stand.
        units: Where the samples of each image stand, in an order by chance.
        per_image: Most samples in a unit.
        binary: Whether every score is 0 or 1.
        span: Greatest less least score.
    """

    demands: tuple[tuple[float, frozenset[int]], ...]
    units: tuple[tuple[int, ...], ...]
    per_image: int
    binary: bool
    span: float

    @classmethod
    def of(
        cls, subject: Subject, samples: SampleSet, demands: Demands, per_image: int, seed: int
    ) -> "Evidence":
        """Return it for a set.

        Raises:
            DataError: More samples share an image than may, or a task has no samples or the samples
                no task.
        """
        images = dict(zip(subject.ids, subject.images, strict=True))
        places = {name: place for place, name in enumerate(subject.ids)}
        found = groups(images)
        largest = max(found, key=len)
        if len(largest) > per_image:
            raise DataError(
                f"certify samples {shown(largest[0])} and {shown(largest[1])} share an image "
                f"(most: {len(largest)} samples), so they are no two proofs; set "
                "`certify.per_image` to the most samples that an image can have where these were "
                f"drawn from, at least {len(largest)}, or keep one for each image"
            )
        units = [tuple(places[name] for name in group) for group in found]
        # Bets rely on units that come in no order; a file may be sorted by anything.
        random.Random(f"{seed} {subject.digest}").shuffle(units)
        tasks = _tasks([sample.kind for sample in samples], demands)
        return cls(tasks, tuple(units), per_image, subject.binary, subject.span)

    @property
    def method(self) -> str:
        """What certificates call it."""
        if self.per_image > 1:
            return CLUSTERED
        return EXACT if self.binary else BETTING

    def p_values(self, drops: Sequence[float]) -> list[float]:
        """Of "it loses the tolerance or more", for each part of the claim.

        Raises:
            RunError: Drops are none of the metric's.
        """
        return [
            self._bound(drops, rows).p_value(tolerance / self.span)
            for tolerance, rows in self.demands
        ]

    def bound(self, drops: Sequence[float], alpha: float) -> float:
        """Least tolerance that these drops prove, of the part of the claim that comes off worst."""
        return self.span * max(
            self._bound(drops, rows).upper_bound(alpha) for _, rows in self.demands
        )

    def _bound(self, drops: Sequence[float], rows: frozenset[int]) -> Flips | Losses:
        asked = [[drops[row] / self.span for row in unit if row in rows] for unit in self.units]
        units = [unit for unit in asked if unit]
        try:
            if self.method == EXACT:
                return Flips.of([unit[0] for unit in units])
            return Losses.shared({str(n): unit for n, unit in enumerate(units)}, self.per_image)
        except ValueError as error:
            raise RunError(
                f"scores are not what the metric promises ({error}); correct the metric, or its "
                "bounds"
            ) from None

    def score(self, values: Sequence[float]) -> Interval:
        """The mean score of all samples with its 95 % interval."""
        if self.per_image == 1:
            return intervals.of_scores(values)
        found = self.interval(values)
        if found.low < found.high:
            return found
        # Where no two images differ, as many single samples would say as much.
        alone = intervals.of_scores([values[unit[0]] for unit in self.units])
        return replace(alone, n=found.n)

    def interval(self, drops: Sequence[float]) -> Interval:
        """The mean drop of all samples with its 95 % interval."""
        sums = [math.fsum(drops[row] for row in unit) for unit in self.units]
        return intervals.of_units(sums, [len(unit) for unit in self.units])

    def needed(self, drops: Sequence[float], alpha: float) -> int:
        """About how many samples it would take if the schedule that lost these lost nothing."""
        total, most = len(drops), 0
        for tolerance, rows in self.demands:
            seen = self._bound(drops, rows)
            if isinstance(seen, Flips):
                samples: float = power.needed(seen, tolerance, alpha)
            else:
                units = power.needed_units(seen, tolerance / self.span, alpha)
                samples = units * len(rows) / len(seen.sums)
            most = max(most, math.ceil(samples * total / len(rows)))
        return most


def _tasks(kinds: Sequence[str], demands: Demands) -> tuple[tuple[float, frozenset[int]], ...]:
    found = []
    for task, tolerance in demands.all.items():
        rows = frozenset(row for row, kind in enumerate(kinds) if task in ("", kind))
        if not rows:
            raise DataError(
                f"no certify sample has the `kind` {shown(task)} of `certify.tasks`; the kinds "
                f"are {', '.join(sorted({*kinds}))}: name one of them"
            )
        found.append((tolerance, rows))
    left = sorted({*kinds} - {*demands.tasks})
    if demands.tolerance is None and left:
        raise DataError(
            f"certify samples of the `kind` {shown(left[0])} have no tolerance; add it to "
            "`certify.tasks`, or a `certify.tolerance` for all samples"
        )
    return tuple(found)
