"""What a search will cost, judged by searching a stand-in for a model whose sizes are known."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from schedsearch.app.config import StudyConfig
from schedsearch.app.pass_time import given
from schedsearch.app.plan import Simulated, Simulation
from schedsearch.app.rankers import rankers_of
from schedsearch.app.stand_in import DEPTHS
from schedsearch.core.facts import Facts
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import make_metric
from schedsearch.samplers.settings import GSearchSettings

MOST_SAMPLES = 300
"""Of the stand-in: passes depend little on it, and people wait."""


def can_forecast(config: StudyConfig) -> bool:
    """Say whether the search is one that asks layer by layer and needs no model to begin."""
    search = config.search
    return (
        isinstance(search, GSearchSettings)
        and search.sampler == "g-search"
        and not isinstance(search.guess, str)
        and isinstance(config.ranker, str)
        and config.ranker != "auto"
    )


def forecast(
    config: StudyConfig, like: StudySpec, samples: int, seconds: float
) -> tuple[Simulated, ...]:
    """Searches of stand-ins as for `plan`, by one worker, the cheapest first.

    Args:
        config: The study file; one that `can_forecast` lets pass.
        like: A study of the same model, whose sizes it has.
        samples: In the calibration set.
        seconds: Of a full pass over it.

    Raises:
        InputError: The sizes of the model are not known, or the search cannot begin.
    """
    subject = _subject(config, like.facts, min(samples, MOST_SAMPLES))
    ranker, *_ = rankers_of(config.ranker, config.ranker_params, config.search.first)
    spec = replace(
        like,
        name=config.study,
        search=config.search.plain(),
        facts=Facts.of(subject.shape, subject.tokens),
        ranker=ranker,
        rankers=(),
        seed=config.seed,
    )
    with TemporaryDirectory(prefix="schedsearch-forecast-") as folder:
        simulation = Simulation(
            spec, subject, given(seconds), certify=0, held_out=0, folder=Path(folder)
        )
        found = [simulation.run(need, 1) for need in DEPTHS]
    return tuple(sorted(found, key=lambda one: one.passes))


def _subject(config: StudyConfig, facts: Facts, count: int) -> Subject:
    known = facts.samples()
    tokens = tuple(known[at * len(known) // count] for at in range(count))
    names = tuple(f"{at}" for at in range(count))
    metric = make_metric(config.metric, config.metric_params)
    if not tokens:
        raise InputError("the calibration set is empty; name one with samples")
    return Subject(
        name=config.data.calibration,
        digest="",
        split="calibration",
        ids=names,
        keys=names,
        tokens=tokens,
        shape=facts.decoder,
        target=None,
        context={},
        greatest=metric.greatest,
        least=metric.least,
        binary=metric.binary,
    )
