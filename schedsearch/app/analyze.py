"""How layers rank vision tokens, until which layer they are needed, and which objective tells."""

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from schedsearch.app.bootstrap import DataRef, Progress, model_place
from schedsearch.app.objectives import Objectives, rank_schedules
from schedsearch.app.withdrawal import Withdrawal, withdraw_vision
from schedsearch.app.worker import WorkerSpec
from schedsearch.core.schedule import RankerSpec
from schedsearch.core.subject import Subject
from schedsearch.execution.executors.local import LocalExecutor

if TYPE_CHECKING:
    from schedsearch.evaluation.attention.statistics import AttentionStatistics


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
    from schedsearch.evaluation.metrics import make_metric

    model_place(model_name)
    workers = LocalExecutor(WorkerSpec(model_name, make_metric(metric), data, loading=loading).open)
    subject: Subject = workers.ask("subject")
    attention = workers.ask("attention", subject.split, ranker, on_progress=progress("attention"))
    withdrawals = withdraw_vision(workers, subject, progress("withdrawal"))
    objectives = None
    if schedules:
        ordering = RankerSpec(ranker)
        objectives = rank_schedules(workers, subject, metric, ordering, schedules, progress)
    return Analysis(
        model=model_name,
        layers=subject.shape.layers,
        data=subject.name,
        samples=len(subject.ids),
        metric=metric,
        attention=attention,
        withdrawals=withdrawals,
        objectives=objectives,
    )
