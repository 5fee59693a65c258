"""Rankers by name: the one place that maps names to classes."""

from collections.abc import Callable

from schedsearch.core.schedule import RankerSpec
from schedsearch.core.shown import shown
from schedsearch.errors import ScheduleError
from schedsearch.reduction.rankers.base import AttentionRanker, EarlyRanker, Ranker
from schedsearch.reduction.rankers.diverse import DiverseRanker
from schedsearch.reduction.rankers.last import LastRanker
from schedsearch.reduction.rankers.local import LocalRanker
from schedsearch.reduction.rankers.random import RandomRanker
from schedsearch.reduction.rankers.text import TextRanker
from schedsearch.reduction.rankers.tower import TowerRanker
from schedsearch.reduction.rankers.uniform import UniformRanker

RANKERS: dict[str, Callable[..., Ranker]] = {
    "last": LastRanker,
    "text": TextRanker,
    "random": RandomRanker,
    "uniform": UniformRanker,
    "local": LocalRanker,
    "diverse": DiverseRanker,
    "tower": TowerRanker,
}

__all__ = ["RANKERS", "AttentionRanker", "EarlyRanker", "Ranker", "make_ranker"]


def make_ranker(spec: RankerSpec) -> Ranker:
    """Ranker that a schedule names.

    Raises:
        ScheduleError: Unknown name or parameter.
    """
    if spec.name not in RANKERS:
        known = ", ".join(sorted(RANKERS))
        raise ScheduleError(f"`ranker.name` must be one of {known}, but got {shown(spec.name)}")
    try:
        return RANKERS[spec.name](**dict(spec.params))
    except TypeError as error:
        raise ScheduleError(f"`ranker.params` of {shown(spec.name)} do not fit: {error}") from None
