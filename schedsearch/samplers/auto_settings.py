"""Settings of the sampler that goes on where G-Search ends."""

from typing import Literal

from schedsearch.core.facts import Facts
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.section import Count, Tokens
from schedsearch.samplers.sampler import StudySampler
from schedsearch.samplers.settings import GSearchSettings


class AutoSettings(GSearchSettings):
    """All that `g-search` has, begun by single cuts, then cheaper schedules around its curve.

    Attributes:
        sampler: Who searches.
        trials: How many schedules are tried at most after G-Search, each cheaper than the cheapest
            that was accepted.
    """

    sampler: Literal["auto"]  # type: ignore[assignment]
    guess: list[Tokens] | Literal["attention", "additive"] = "additive"
    trials: Count = 16

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler."""
        from schedsearch.samplers.auto import Auto

        made_from = self._made_from(facts, ranker)
        return Auto(**made_from, shape=facts.decoder, tokens=facts.samples(), seed=seed)
