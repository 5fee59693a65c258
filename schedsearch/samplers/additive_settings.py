"""Settings of the sampler that adds up what single cuts cost."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schedsearch.core.budget import Budget
from schedsearch.core.facts import Facts
from schedsearch.core.schedule import RankerSpec, reducible_layers
from schedsearch.core.section import Count, Layer
from schedsearch.errors import InputError
from schedsearch.samplers.sampler import StudySampler
from schedsearch.samplers.settings import SamplerSettings, Spent, Surroundings
from schedsearch.samplers.single_cuts import SAMPLES, SHARES, SingleCuts

_Share = Annotated[float, Field(ge=0, lt=1)]


class AdditiveSettings(SamplerSettings):
    """A frontier from what single cuts cost on few samples, of which some schedules are measured.

    Attributes:
        sampler: Who searches.
        budget: The result loses least within it: one of `flops`, `feasible`, `kv` or `mean_keep`,
            with its amount. This or `max_drop`.
        max_drop: The result is the cheapest schedule that loses at most this much of the metric.
        first: First layer that may process fewer vision tokens than there are.
        samples: On how many of the first calibration samples single cuts are looked at.
        shares: To which shares of the vision tokens single cuts go, at each layer.
        trials: How many schedules are tried at most.
        concurrent_trials: How many schedules are open at once.
        divergences: What single cuts lose, by layer from `first` and by share: mean KL divergence
            from the full model's next token, in nats; left out: measured when the study begins.
    """

    sampler: Literal["additive"]
    budget: dict[str, float] | None = None
    max_drop: Annotated[float, Field(ge=0)] | None = None
    first: Layer = 2
    samples: Count = SAMPLES
    shares: Annotated[list[_Share], Field(min_length=1)] = list(SHARES)
    trials: Count = 8
    concurrent_trials: Count = 1
    divergences: list[list[float]] | None = None
    spent: Spent = None

    @model_validator(mode="after")
    def _has_one_goal(self) -> Self:
        if (self.budget is None) == (self.max_drop is None):
            raise PydanticCustomError("goal", "must have either `budget` or `max_drop`")
        return self

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:  # noqa: ARG002
        """Return the sampler; it draws nothing at random."""
        from schedsearch.samplers.additive import Additive

        if self.divergences is None:
            raise InputError("`divergences` must be measured by now, but are not; open the study")
        return Additive(
            cuts=SingleCuts(
                self.first, tuple(self.shares), tuple(tuple(row) for row in self.divergences)
            ),
            shape=facts.decoder,
            tokens=facts.samples(),
            ranker=ranker,
            budget=None if self.budget is None else Budget.parse(self.budget),
            max_drop=self.max_drop,
            trials=self.trials,
            concurrent_trials=self.concurrent_trials,
        )

    def resolved(self, around: Surroundings) -> Self:
        """Return the settings with `divergences`; a study that exists keeps those it began with.

        Raises:
            InputError: The budget or `first` cannot be used.
            RunError: A cut cannot be evaluated.
        """
        from schedsearch.samplers.additive import check_reach

        found = self.model_copy(update={"shares": sorted(set(self.shares))})
        subject, former = around.subject, around.former or {}
        reducible_layers(self.first, subject.shape.layers)
        if self.budget is not None:
            check_reach(Budget.parse(self.budget), subject.shape, subject.tokens, self.first)
        if self.divergences is not None:
            return found
        named, own = ("first", "samples", "shares"), found.plain()
        if "divergences" in former and all(former.get(key) == own[key] for key in named):
            known = {key: former[key] for key in ("divergences", "spent") if key in former}
            return found.model_copy(update=known)
        cuts, spent = SingleCuts.measured(
            around.divergences, subject.shape.layers, self.first, found.shares, self.samples
        )
        rows = [list(row) for row in cuts.losses]
        return found.model_copy(update={"divergences": rows, "spent": spent})
