"""Settings of samplers that search the parameters of a family."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from schedsearch.core.budget import Budget
from schedsearch.core.facts import Facts
from schedsearch.core.families import FAMILIES, Family, make_family
from schedsearch.core.flops import Cost, flops_cost
from schedsearch.core.latency import MILLISECONDS, LatencyModel
from schedsearch.core.plugin import PlugIn
from schedsearch.core.reading import place_of
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.section import Count, Layer, NameIn, Params, Text
from schedsearch.core.subject import Subject
from schedsearch.errors import InputError
from schedsearch.samplers.sampler import StudySampler
from schedsearch.samplers.settings import SamplerSettings, Spent, Surroundings
from schedsearch.samplers.warm_start import (
    ADDITIVE,
    PUBLISHED,
    Keep,
    curves_of,
    predicted_line,
    start_of,
)

Latency = Text | SkipJsonSchema[LatencyModel]

_PREDICTED = 4


class FamilySettings(SamplerSettings):
    """What searches over a family's parameters share.

    Attributes:
        sampler: Who searches: one of those below.
        family: Whose parameters are searched.
        first: First layer that may process fewer vision tokens than there are.
        trials: How many schedules are tried.
        concurrent_trials: How many schedules are open at once.
        warm_start: Curves to begin with, each as the nearest member of the family: `published`,
            `additive` for what single cuts on 50 samples predict, `study:NAME` for the result of
            another study in the same store, or a schedule file, relative to the study file.
        starts: Points of the family to begin with; left out: the members that `warm_start` means.
        family_params: Parameters of a family of your own, where they differ from the defaults.
    """

    sampler: str
    family: Annotated[str, NameIn(FAMILIES)] = "sigmoid"
    first: Layer = 2
    trials: Count = 50
    concurrent_trials: Count = 1
    warm_start: list[Text] = []
    starts: list[dict[str, float]] | None = None
    family_params: Params = {}
    spent: Spent = None

    @classmethod
    def named(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings with name and parameters in place of a family itself."""
        family = given.get("family")
        if not isinstance(family, Family):
            return given
        FAMILIES.register(family.name, type(family))
        params = {one.name: getattr(family, one.name) for one in fields(family)}
        first = params.pop("first")
        return {**given, "family": family.name, "first": first, "family_params": params}

    @property
    def made_family(self) -> Family:
        """The family.

        Raises:
            InputError: A parameter does not fit.
        """
        params = {"first": self.first, **self.family_params}
        return make_family(PlugIn.from_mapping(self.family, params))

    def resolved(self, around: Surroundings) -> Self:
        """Return the settings with `starts`; a study that exists keeps those it began with.

        Raises:
            InputError: A curve or the latency file cannot be used.
            RunError: A single cut cannot be evaluated.
        """
        if self.starts is not None:
            return self
        named = ("family", "first", "family_params", "warm_start")
        former, own = around.former or {}, self.plain()
        if "starts" in former and all(former.get(key) == own[key] for key in named):
            known = {key: former[key] for key in ("starts", "spent") if key in former}
            return self.model_copy(update=known)
        subject, curves, spent = around.subject, list[Keep](), None
        for name in self.warm_start:
            if name == ADDITIVE:
                line, spent = predicted_line(around.divergences, subject, self.first)
                curves += [one.keep for one in self._of_line(line, subject)]
            else:
                layers = subject.shape.layers
                curves += curves_of(name, layers, self.first, around.result, around.folder)
        family, cost = self.made_family, self._searched_cost(subject)
        starts = [start_of(family, curve, subject, cost) for curve in curves]
        return self.model_copy(update={"starts": starts, "spent": spent})

    def check_files(self, folder: Path) -> None:
        """Read the schedules and the latency file, and forget them."""
        latency = getattr(self, "latency", None)
        if isinstance(latency, str):
            LatencyModel.load(place_of(latency, folder))
        for name in self.warm_start:
            if name not in (PUBLISHED, ADDITIVE) and not name.startswith("study:"):
                Schedule.load(place_of(name, folder))

    def _searched_cost(self, _subject: Subject) -> Cost | None:
        """What a schedule costs, where the search chooses that too."""
        return None

    @abstractmethod
    def _of_line(self, line: Sequence[Schedule], subject: Subject) -> list[Schedule]:
        """Choose from the schedules that lose least by single cuts, cost rising, those to try."""

    def _shared(self, facts: Facts, ranker: RankerSpec, seed: int) -> dict[str, Any]:
        """What all these samplers are made from, but for their budget."""
        return {
            "family": self.made_family,
            "shape": facts.decoder,
            "tokens": facts.samples(),
            "ranker": ranker,
            "seed": seed,
            "trials": self.trials,
            "concurrent_trials": self.concurrent_trials,
            "starts": tuple(self.starts or ()),
        }


class BudgetSettings(FamilySettings):
    """What searches under a budget share.

    Attributes:
        budget: One of `flops`, `feasible`, `kv`, `mean_keep` or `milliseconds`, with its amount.
        latency: For milliseconds: the file that `schedsearch profile` wrote, relative to the study
            file.
    """

    budget: dict[str, float]
    latency: Latency | None = None

    def resolved(self, around: Surroundings) -> Self:
        """Return the settings with `starts`, and the latency model in place of its file.

        Raises:
            InputError: A curve, the budget or the latency file cannot be used.
        """
        latency = self.latency
        if MILLISECONDS in self.budget:
            if latency is None:
                raise InputError(
                    "a budget in milliseconds needs `latency`, the file that `schedsearch profile` "
                    "writes for this model on this device; name it"
                )
            latency = _loaded(latency, around.folder)
        elif latency is not None:
            raise InputError("`latency` belongs to a budget in milliseconds; remove it")
        found = self.model_copy(update={"latency": latency})
        found._budget(Facts.of(around.subject.shape, around.subject.tokens))
        return super(BudgetSettings, found).resolved(around)

    def _budget(self, facts: Facts) -> Budget:
        if not isinstance(self.latency, LatencyModel) or len(self.budget) != 1:
            return Budget.parse(self.budget)
        (amount,) = self.budget.values()
        measure = self.latency.measure
        measure.cost(facts.decoder, facts.samples())  # refuses a model of another depth
        return Budget(measure, amount)

    def _of_line(self, line: Sequence[Schedule], subject: Subject) -> list[Schedule]:
        budget = self._budget(Facts.of(subject.shape, subject.tokens))
        cost = budget.cost(subject.shape, subject.tokens)
        most = budget.limit(subject.shape, subject.tokens, self.first)
        return [one for one in line if cost(one) <= most][-1:]

    def _shared(self, facts: Facts, ranker: RankerSpec, seed: int) -> dict[str, Any]:
        return super()._shared(facts, ranker, seed) | {"budget": self._budget(facts)}


class BayesSettings(BudgetSettings):
    """Bayesian optimisation (BoTorch) under a budget."""

    sampler: Literal["bayes"]

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler."""
        from schedsearch.samplers.bayes import Bayes

        return Bayes(**self._shared(facts, ranker, seed))


class OptunaSettings(BudgetSettings):
    """A sampler of Optuna, under a budget.

    Attributes:
        method: Which of Optuna's samplers.
    """

    sampler: Literal["optuna"]
    method: Literal["tpe", "gp", "qmc", "cmaes", "random"] = "tpe"

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler."""
        from schedsearch.samplers.optuna_sampler import OptunaSampler

        return OptunaSampler(**self._shared(facts, ranker, seed), method=self.method)


class RandomSettings(BudgetSettings):
    """Random points of a family, under a budget."""

    sampler: Literal["random"]

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler."""
        from schedsearch.samplers.random_search import RandomSearch

        return RandomSearch(**self._shared(facts, ranker, seed))


class RandomMonotoneSettings(BudgetSettings):
    """Random falling schedules, under a budget."""

    sampler: Literal["random-monotone"]
    family: Literal["layerwise"] = "layerwise"

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler."""
        from schedsearch.samplers.random_search import RandomMonotone

        return RandomMonotone(**self._shared(facts, ranker, seed))


class FrontierSettings(FamilySettings):
    """The best quality at every cost in one search.

    Attributes:
        max_drop: The result is the cheapest schedule that loses at most this much of the metric.
        reference_drop: A schedule that loses this much or more adds nothing to the frontier; left
            out: half of the greatest drop at the start.
        latency: The file that `schedsearch profile` wrote, relative to the study file: cost is
            milliseconds then; left out: FLOPs.
    """

    sampler: Literal["frontier"]
    max_drop: Annotated[float, Field(ge=0)]
    reference_drop: Annotated[float, Field(gt=0)] | None = None
    latency: Latency | None = None

    def make(self, facts: Facts, ranker: RankerSpec, seed: int) -> StudySampler:
        """Return the sampler."""
        from schedsearch.samplers.frontier import Frontier

        shared = self._shared(facts, ranker, seed)
        if isinstance(self.latency, LatencyModel):
            measure, shape = self.latency.measure, facts.decoder
            full = measure.cost(shape, facts.samples())(Schedule.full(shape.layers))
            shared["budget"] = Budget(measure, full)
        return Frontier(**shared, max_drop=self.max_drop, reference_drop=self.reference_drop)

    def resolved(self, around: Surroundings) -> Self:
        """Return the settings with `starts`, and the latency model in place of its file.

        Raises:
            InputError: A curve or the latency file cannot be used.
        """
        if self.latency is None:
            return super().resolved(around)
        found = self.model_copy(update={"latency": _loaded(self.latency, around.folder)})
        return super(FrontierSettings, found).resolved(around)

    def _of_line(self, line: Sequence[Schedule], subject: Subject) -> list[Schedule]:
        from schedsearch.samplers.predicted import evenly

        costs = list(map(self._searched_cost(subject), line))
        *inner, _ = evenly(costs, range(len(line)), costs[0], costs[-1], _PREDICTED + 1)
        return [line[at] for at in inner]

    def _searched_cost(self, subject: Subject) -> Cost:
        if isinstance(self.latency, LatencyModel):
            return self.latency.cost(subject.shape, subject.tokens)
        return flops_cost(subject.shape, subject.tokens)


def _loaded(latency: str | LatencyModel, folder: Path) -> LatencyModel:
    return LatencyModel.load(place_of(latency, folder)) if isinstance(latency, str) else latency
