"""How layers rank vision tokens, until which layer they are needed, and which objective tells."""

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from schedsearch.app.bootstrap import DataRef, Progress, model_place, open_model, open_samples
from schedsearch.app.objectives import Objectives, rank_schedules
from schedsearch.app.withdrawal import Withdrawal, withdraw_vision
from schedsearch.core.schedule import RankerSpec

if TYPE_CHECKING:
    from schedsearch.engine.statistics import AttentionStatistics


@dataclass(frozen=True)
class Analysis:
    """What `schedsearch analyze` reports.

    Attributes:
        model: As the caller named it.
        layers: Decoder layers.
        data: Name of the sample set.
        samples: How many there were.
        metric: What the withdrawals are scored by.
        attention: Agreement between layers and attention on vision, with random baselines.
        withdrawals: Scores when vision leaves at each layer, 1 to `layers` (never), each beside
            random tokens at the same FLOPs.
        objectives: How objectives that need no answers rank random schedules; None where that was
            not asked, or the samples have no answers.
    """

    model: str
    layers: int
    data: str
    samples: int
    metric: str
    attention: "AttentionStatistics"
    withdrawals: tuple[Withdrawal, ...]
    objectives: Objectives | None

    @property
    def tau_neighbours(self) -> float:
        """Mean tau between a layer and the next; the paper reports about .7 (2412.00556)."""
        tau = self.attention.tau
        return fmean(tau[layer][layer + 1].value for layer in range(self.layers - 1))


def analyze_model(
    model_name: str,
    data: DataRef,
    *,
    metric: str = "exact_match",
    ranker: str = "last",
    schedules: int = 20,
    progress: Progress,
    **loading: Any,
) -> Analysis:
    """Measure attention, withdrawals and objectives on a sample set.

    Args:
        model_name: `demo`, a hub id or a folder.
        data: What to measure on.
        metric: Name of the metric.
        ranker: Whose attention ranks: `last` or `text`.
        schedules: How many random schedules the objectives rank; 0 leaves that out.
        progress: Starts a progress bar by name.
        **loading: Passed on to `load_model`: dtype, device_map, quantization, ...

    Raises:
        InputError: Model or data cannot be used, or a name is unknown.
    """
    from schedsearch.engine.metrics import check_answers, make_metric

    scored = make_metric(metric)
    model_place(model_name)
    samples = open_samples(data, "calibration", progress)
    check_answers(samples, scored)

    from schedsearch.engine.adapters import adapter_for
    from schedsearch.engine.evaluator import Evaluator
    from schedsearch.engine.statistics import attention_statistics

    model, processor = open_model(model_name, **loading)
    attention = attention_statistics(
        model, processor, samples, ranker=ranker, on_progress=progress("attention")
    )
    evaluator = Evaluator(model, processor, samples, scored)
    shape = adapter_for(model).shape(model)
    ids = tuple(sample.id for sample in samples)
    tokens = evaluator.sample_tokens(ids)
    withdrawals = withdraw_vision(
        evaluator, samples.split, ids, shape, tokens, progress("withdrawal")
    )
    objectives = None
    if schedules:
        objectives = rank_schedules(
            model,
            processor,
            samples,
            scored,
            shape=shape,
            tokens=tokens,
            ranker=RankerSpec(ranker),
            schedules=schedules,
            progress=progress,
        )
    return Analysis(
        model=model_name,
        layers=shape.layers,
        data=samples.name,
        samples=len(ids),
        metric=metric,
        attention=attention,
        withdrawals=withdrawals,
        objectives=objectives,
    )
