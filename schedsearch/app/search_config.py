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

from schedsearch.core.complaints import complaint, field_names
from schedsearch.errors import InputError

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Tokens = Annotated[int, Field(ge=0)]
Layer = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of a study file: strict, and without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class GSearchConfig(Section):
    """Settings of G-Search; `schedsearch.samplers.greedy.GSearch` says what they mean.

    Without `screens` they follow from the number of samples. `guess: attention` takes the counts
    that attention of the full model suggests on a few samples.
    """

    sampler: Literal["g-search"] = "g-search"
    acceptance: Literal["drop", "confident"] = "drop"
    tolerance: Annotated[float, Field(ge=0)] = 0.0
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
        sampler: Who searches.
        family: Whose parameters are searched.
        first: First layer that may process fewer vision tokens than there are.
        trials: How many schedules are tried.
        questions: How many are open at once.
        warm_start: Curves to begin with, each as the nearest member of the family: `published`,
            `study:NAME` for the result of another study in the same store, or a schedule file.
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
        budget: One of flops, feasible, kv, mean_keep or milliseconds, with its amount.
        latency: For milliseconds: the file that `schedsearch profile` wrote.
    """

    budget: dict[str, float]
    latency: Text | None = None


class BayesConfig(BudgetConfig):
    """Bayesian optimisation; see `schedsearch.samplers.bayes.Bayes`."""

    sampler: Literal["bayes"]


class OptunaConfig(BudgetConfig):
    """A sampler of Optuna; see `schedsearch.samplers.optuna_sampler.OptunaSampler`."""

    sampler: Literal["optuna"]
    method: Literal["tpe", "gp", "qmc", "cmaes", "random"] = "tpe"


class RandomConfig(BudgetConfig):
    """Random points of a family; see `schedsearch.samplers.random_search.RandomSearch`."""

    sampler: Literal["random"]


class RandomMonotoneConfig(BudgetConfig):
    """Random falling schedules; see `schedsearch.samplers.random_search.RandomMonotone`."""

    sampler: Literal["random-monotone"]
    family: Literal["layerwise"] = "layerwise"


class FrontierConfig(FamilyConfig):
    """The whole frontier in one search; see `schedsearch.samplers.frontier.Frontier`.

    With `latency`, the file that `schedsearch profile` wrote, cost is milliseconds, else FLOPs.
    """

    sampler: Literal["frontier"]
    max_drop: Annotated[float, Field(ge=0)] = 0.0
    latency: Text | None = None


AnySearch = GSearchConfig | FamilyConfig

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
        names = field_names(section)
        unknown = f"is no setting of this search; {{hint}}allowed: {', '.join(sorted(names))}"
        raise InputError(f"`sampler`: {complaint(error, unknown, names, SECTIONS)}") from None
