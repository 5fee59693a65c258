"""Rankers by name: the one place that maps names to classes."""

from collections.abc import Callable

from schedsearch.core.schedule import RankerSpec
from schedsearch.core.shown import shown
from schedsearch.engine.rankers.base import AttentionRanker, EarlyRanker, Ranker
from schedsearch.engine.rankers.diverse import DiverseRanker
from schedsearch.engine.rankers.last import LastRanker
from schedsearch.engine.rankers.local import LocalRanker
from schedsearch.engine.rankers.random import RandomRanker
from schedsearch.engine.rankers.text import TextRanker
from schedsearch.engine.rankers.tower import TowerRanker
from schedsearch.engine.rankers.uniform import UniformRanker
from schedsearch.errors import ScheduleError

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
