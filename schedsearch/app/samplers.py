"""Samplers of studies: from what users write to a specification, and from that to the sampler."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from schedsearch.app.search_config import BudgetConfig, FamilyConfig, FrontierConfig
from schedsearch.app.warm_start import curves_of, start_of
from schedsearch.core.budget import Budget
from schedsearch.core.families import make_family
from schedsearch.core.flops import Cost, DecoderShape, SampleTokens, flops_cost
from schedsearch.core.latency import MILLISECONDS, LatencyModel
from schedsearch.core.plugin import ParamValue, PlugIn
from schedsearch.core.reading import place_of
from schedsearch.core.schedule import Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.sampler import OnFailure, Sampler
from schedsearch.store.store import Store


class StudySampler(Sampler, Protocol):
    """What a study knows of its sampler, whichever it is."""

    @property
    def layers(self) -> int:
        """Decoder layers of the model."""

    @property
    def n_max(self) -> int:
        """The most vision tokens of a calibration sample."""

    @property
    def first(self) -> int:
        """First layer that may process fewer vision tokens than there are."""

    @property
    def screens(self) -> tuple[int, ...]:
        """Numbers of samples on which schedules are tried first."""

    @property
    def on_failure(self) -> OnFailure:
        """Whether a failed trial ends the run."""


def make_sampler(spec: StudySpec) -> StudySampler:
    """The sampler of a study, from its specification alone.

    Raises:
        InputError: Its settings are out of range.
    """
    settings: dict[str, Any] = dict(spec.sampler.params)
    if spec.sampler.name == GSearch.name:
        for name in _LISTS:
            settings[name] = tuple(map(int, str(settings.get(name, "")).split()))
        return GSearch(**settings, ranker=spec.ranker, questions=spec.questions)
    shape = DecoderShape(**json.loads(settings.pop("shape")))
    tokens = _read_tokens(settings.pop("tokens"))
    settings.pop("warm_start")
    latency = settings.pop("latency", "")
    if "budget" in settings:
        settings["budget"] = _budget(settings["budget"], latency, shape, tokens)
    elif latency:
        measure = LatencyModel.from_json(latency).measure
        full = measure.cost(shape, tokens)(Schedule.full(shape.layers))
        settings["budget"] = Budget(measure, full)
    settings |= {
        "family": make_family(spec.family),
        "shape": shape,
        "tokens": tokens,
        "starts": tuple(json.loads(settings.pop("starts"))),
        "ranker": spec.ranker,
        "seed": spec.seed,
        "questions": spec.questions,
    }
    return cast(StudySampler, _budgeted(spec.sampler.name)(**settings))


def g_search_plug_in(
    chosen: Mapping[str, Any],
    subject: Subject,
) -> PlugIn:
    """G-Search with what the user chose, and what follows from model and calibration set.

    Args:
        chosen: Values of `GSearchConfig`; `guess` as counts.
        subject: The model and the calibration set.

    Raises:
        InputError: A screen is not fewer than the samples.
    """
    settings = {
        **chosen,
        "layers": subject.shape.layers,
        "n_max": max(subject.n_visions),
        "n_visions": subject.n_visions,
    }
    if settings["screens"] is None:
        gallops = settings["method"] == "gallop" and math.isfinite(subject.greatest)
        settings["screens"] = default_screens(len(subject.ids)) if gallops else ()
    for screen in settings["screens"]:
        if screen >= len(subject.ids):
            raise InputError(
                f"`screens` must be fewer than the {len(subject.ids)} calibration samples, but got "
                f"{screen}; leave it out for a twelfth of them"
            )
    settings |= {name: " ".join(map(str, settings[name])) for name in _LISTS}
    return PlugIn.from_mapping(GSearch.name, settings)


def family_plug_ins(
    config: FamilyConfig,
    subject: Subject,
    study: str,
    store: Store | None,
    folder: Path = Path(),
) -> tuple[PlugIn, PlugIn]:
    """Sampler and family of a search over a family's parameters.

    A study that exists already keeps the curves that it began with.

    Args:
        config: What the user chose.
        subject: The model and the calibration set.
        study: Name of the study.
        store: Where it is kept, and other studies that it may begin with; None if yet to be made.
        folder: What names of files are relative to.

    Raises:
        InputError: A curve, the budget or the latency file cannot be used.
    """
    family = PlugIn.from_mapping(config.family, {"first": config.first})
    settings: dict[str, ParamValue] = {
        "trials": config.trials,
        "shape": json.dumps(asdict(subject.shape)),
        "tokens": _written_tokens(subject.tokens),
        "warm_start": "; ".join(config.warm_start),
    }
    for name in ("method", "max_drop"):
        if name in type(config).model_fields:
            settings[name] = getattr(config, name)
    if isinstance(config, BudgetConfig):
        settings |= _budget_settings(config, subject, folder)
    elif isinstance(config, FrontierConfig) and config.latency is not None:
        settings["latency"] = LatencyModel.load(place_of(config.latency, folder)).to_json()
    former = _former(study, store)
    if former and (former.family, former.sampler.param("warm_start", "")) == (
        family,
        settings["warm_start"],
    ):
        settings["starts"] = former.sampler.param("starts", "")
    else:
        cost = _searched_cost(config, subject, settings)
        names, layers = config.warm_start, subject.shape.layers
        curves = curves_of(names, layers, config.first, partial(_result, store), folder)
        starts = [start_of(make_family(family), curve, subject, cost) for curve in curves]
        settings["starts"] = json.dumps(starts)
    return PlugIn.from_mapping(config.sampler, settings), family


def default_screens(samples: int) -> tuple[int, ...]:
    """How many samples are asked before all of them, where the user does not say.

    A screen saves work because it can reject, which needs a bounded metric.
    """
    return (samples // 12,) if samples // 12 >= _FEWEST else ()


# Settings that are several numbers; a specification holds them as text.
_LISTS = ("n_visions", "screens", "guess")

# A smaller screen saves nothing: its batches would hardly fill a processor.
_FEWEST = 8


def _budgeted(name: str) -> Any:
    """Class of a sampler; only the one that is used is imported."""
    if name == "bayes":
        from schedsearch.samplers.bayes import Bayes

        return Bayes
    if name == "optuna":
        from schedsearch.samplers.optuna_sampler import OptunaSampler

        return OptunaSampler
    if name == "frontier":
        from schedsearch.samplers.frontier import Frontier

        return Frontier
    from schedsearch.samplers.random_search import RandomMonotone, RandomSearch

    known = {one.name: one for one in (RandomSearch, RandomMonotone)}
    if name not in known:
        raise InputError(f"the sampler `{name}` is unknown here; use a newer schedsearch")
    return known[name]


def _result(store: Store | None, study: str) -> Trial | None:
    if store is None:
        return None
    return make_sampler(store.spec(study)).best(store.trials(study))


def _former(study: str, store: Store | None) -> StudySpec | None:
    """The study of this name, if it has begun."""
    known = [] if store is None else [summary.spec for summary in store.studies()]
    return next((spec for spec in known if spec.name == study), None)


def _searched_cost(
    config: FamilyConfig, subject: Subject, settings: Mapping[str, ParamValue]
) -> Cost | None:
    """What a schedule costs, where the search chooses that too."""
    if not isinstance(config, FrontierConfig):
        return None
    if config.latency is None:
        return flops_cost(subject.shape, subject.tokens)
    latency = LatencyModel.from_json(str(settings["latency"]))
    return latency.cost(subject.shape, subject.tokens)


def _budget_settings(config: BudgetConfig, subject: Subject, folder: Path) -> dict[str, ParamValue]:
    wanted, latency = dict(config.budget), ""
    if MILLISECONDS in wanted:
        if config.latency is None:
            raise InputError(
                "a budget in milliseconds needs `latency`, the file that `schedsearch profile` "
                "writes for this model on this device; name it"
            )
        latency = LatencyModel.load(place_of(config.latency, folder)).to_json()
    elif config.latency is not None:
        raise InputError("`latency` belongs to a budget in milliseconds; remove it")
    if len(wanted) != 1:
        Budget.parse(wanted)
    ((measure, amount),) = wanted.items()
    written = f"{measure}: {amount!r}"
    budget = _budget(written, latency, subject.shape, subject.tokens)
    settings: dict[str, ParamValue] = {"budget": str(budget)}
    return settings | ({"latency": latency} if latency else {})


def _budget(
    written: str, latency: str, shape: DecoderShape, tokens: Sequence[SampleTokens]
) -> Budget:
    if not latency:
        return Budget.parse(written)
    measure = LatencyModel.from_json(latency).measure
    measure.cost(shape, tokens)  # refuses a model of another depth
    return Budget(measure, float(written.partition(":")[2]))


def _written_tokens(tokens: Sequence[SampleTokens]) -> str:
    """Prompt lengths as text: vision+text, and how many samples have them."""
    counted = Counter((one.n_vision, one.n_text) for one in tokens)
    return " ".join(f"{vision}+{text}*{n}" for (vision, text), n in sorted(counted.items()))


def _read_tokens(written: str) -> tuple[SampleTokens, ...]:
    tokens: list[SampleTokens] = []
    for group in written.split():
        lengths, _, times = group.partition("*")
        vision, _, text = lengths.partition("+")
        tokens += [SampleTokens(int(vision), int(text))] * int(times)
    return tuple(tokens)
