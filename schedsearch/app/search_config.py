"""The `search` section of a study file: one model for each sampler."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)

from schedsearch.core.complaints import complaint, field_places
from schedsearch.errors import InputError

Text = Annotated[str, Field(min_length=1)]
GREATEST = 2**31 - 1
"""Of all whole numbers that are no seed: what a database takes."""
GREATEST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""

Count = Annotated[int, Field(ge=1, le=GREATEST)]
Tokens = Annotated[int, Field(ge=0, le=GREATEST)]
Layer = Annotated[int, Field(ge=0, le=GREATEST)]


class Section(BaseModel):
    """A part of a study file: strict, and without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class GSearchConfig(Section):
    """G-Search: the least vision tokens for every layer without loss.

    Attributes:
        sampler: Who searches; left out: `g-search`.
        acceptance: `drop`: the mean drop of the metric, full model minus schedule on the same
            samples, must be within the tolerance; `confident`: its one-sided 95 % upper bound must.
        tolerance: The greatest drop that is accepted, in units of the metric. One lost answer of n
            weighs 1/n; less than that accepts none.
        method: How a layer's count is looked for.
        first: First layer that may process fewer vision tokens than there are.
        max_passes: The most passes over the layers.
        floor: The fewest vision tokens of any layer.
        questions: How many schedules are open at once.
        screens: Numbers of samples on which schedules are tried before all; left out: a twelfth.
        guess: Expected count of each layer, or `attention`: what the full model's attention
            suggests. A wrong guess costs time alone.
        slack: Layers share a count as long as it could not fall by more than this share of it.
        on_failure: Whether a failed trial ends the run, or counts as rejected.
    """

    sampler: Literal["g-search"] = "g-search"
    acceptance: Literal["drop", "confident"] = "drop"
    tolerance: Annotated[float, Field(ge=0)]
    method: Literal["gallop", "bisection", "scan"] = "gallop"
    first: Layer = 2
    max_passes: Count = 1
    floor: Tokens = 0
    questions: Count = 1
    screens: list[Count] | None = None
    guess: list[Tokens] | Literal["attention"] = []
    slack: Annotated[float, Field(ge=0, lt=1)] = 0.0
    on_failure: Literal["stop", "continue"] = "stop"


class FamilyConfig(Section):
    """What searches over a family's parameters share.

    Attributes:
        sampler: Who searches: `bayes`, `optuna`, `random`, `random-monotone` or `frontier`.
        family: Whose parameters are searched.
        first: First layer that may process fewer vision tokens than there are.
        trials: How many schedules are tried.
        questions: How many schedules are open at once.
        warm_start: Curves to begin with, each as the nearest member of the family: `published`,
            `study:NAME` for the result of another study in the same store, or a schedule file,
            relative to the study file.
    """

    sampler: str
    family: Literal[
        "sigmoid", "logistic", "linear", "step", "staircase", "withdraw", "uniform", "layerwise"
    ] = "sigmoid"
    first: Layer = 2
    trials: Count = 50
    questions: Count = 1
    warm_start: list[Text] = []


class BudgetConfig(FamilyConfig):
    """What searches under a budget share.

    Attributes:
        budget: One of `flops`, `feasible`, `kv`, `mean_keep` or `milliseconds`, with its amount.
        latency: For milliseconds: the file that `schedsearch profile` wrote, relative to the study
            file.
    """

    budget: dict[str, float]
    latency: Text | None = None


class BayesConfig(BudgetConfig):
    """Bayesian optimisation (BoTorch) under a budget."""

    sampler: Literal["bayes"]


class OptunaConfig(BudgetConfig):
    """A sampler of Optuna, under a budget.

    Attributes:
        method: Which of Optuna's samplers.
    """

    sampler: Literal["optuna"]
    method: Literal["tpe", "gp", "qmc", "cmaes", "random"] = "tpe"


class RandomConfig(BudgetConfig):
    """Random points of a family, under a budget."""

    sampler: Literal["random"]


class RandomMonotoneConfig(BudgetConfig):
    """Random falling schedules, under a budget."""

    sampler: Literal["random-monotone"]
    family: Literal["layerwise"] = "layerwise"


class FrontierConfig(FamilyConfig):
    """The best quality at every cost in one search.

    Attributes:
        max_drop: The result is the cheapest schedule that loses at most this much of the metric.
        latency: The file that `schedsearch profile` wrote, relative to the study file: cost is
            milliseconds then; left out: FLOPs.
    """

    sampler: Literal["frontier"]
    max_drop: Annotated[float, Field(ge=0)]
    latency: Text | None = None


AnySearch = GSearchConfig | FamilyConfig

_ACCEPTED = (
    "the greatest drop of the metric that {who}, such as 0.01; with n samples one lost answer "
    "weighs 1/n, and less than that accepts none"
)
MISSING: Mapping[str, str] = {
    "tolerance": _ACCEPTED.format(who="you accept"),
    "max_drop": _ACCEPTED.format(who="the result may have"),
    "search": "how to search, at least `search: {tolerance: 0.01}`",
}
"""What to add where a key has no default on purpose: nobody else can choose it."""

SECTIONS: Mapping[str, type[Section]] = {
    "g-search": GSearchConfig,
    "bayes": BayesConfig,
    "optuna": OptunaConfig,
    "random": RandomConfig,
    "random-monotone": RandomMonotoneConfig,
    "frontier": FrontierConfig,
}


def _name(given: Any) -> Any:
    """The sampler that a section is for; G-Search where it names none."""
    if isinstance(given, Mapping):
        return given.get("sampler", "g-search")
    return getattr(given, "sampler", None)


SearchConfig = Annotated[
    Annotated[GSearchConfig, Tag("g-search")]
    | Annotated[BayesConfig, Tag("bayes")]
    | Annotated[OptunaConfig, Tag("optuna")]
    | Annotated[RandomConfig, Tag("random")]
    | Annotated[RandomMonotoneConfig, Tag("random-monotone")]
    | Annotated[FrontierConfig, Tag("frontier")],
    Discriminator(
        _name,
        custom_error_type="sampler",
        custom_error_message=f"must be settings whose `sampler` is one of {', '.join(SECTIONS)}",
    ),
]


def parse_search(given: AnySearch | Mapping[str, Any] | None) -> AnySearch:
    """Settings of a search as a program writes them, checked like a study file's.

    Raises:
        InputError: They are no settings of any search; the message names what is wrong.
    """
    if isinstance(given, tuple(SECTIONS.values())):
        return cast(AnySearch, given)
    if given is not None and not isinstance(given, Mapping):
        raise InputError(
            f"`sampler` must be settings of a search such as {{'tolerance': 0.01}}, but got "
            f"{type(given).__name__}"
        )
    settings = dict(given or {})
    try:
        return cast(AnySearch, TypeAdapter(SearchConfig).validate_python(settings))
    except ValidationError as error:
        section = SECTIONS.get(str(settings.get("sampler")), GSearchConfig)
        names = field_places(section)
        unknown = f"is no setting of this search; {{hint}}allowed: {', '.join(sorted(names))}"
        raise InputError(
            f"`sampler`: {complaint(error, unknown, names, SECTIONS, MISSING)}"
        ) from None
