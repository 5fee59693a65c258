"""Search how many vision tokens each decoder layer of a multimodal LLM needs, and apply it.

The two names most people need: `Schedule.load(path)` and `reduce(model, schedule)`. Importing the
package does not import torch; the engine loads on first use.
"""

from typing import TYPE_CHECKING, Any

from schedsearch.errors import (
    DataError,
    InputError,
    RunError,
    SchedsearchError,
    ScheduleError,
    UnsupportedError,
)
from schedsearch.version import VERSION

if TYPE_CHECKING:
    from schedsearch.app.open import open_study, search
    from schedsearch.app.splits import split_samples
    from schedsearch.core.families import register_family
    from schedsearch.core.schedule import RankerSpec, Schedule, Target
    from schedsearch.core.trial import TrialState
    from schedsearch.evaluation.metrics import register_metric
    from schedsearch.evaluation.metrics.function import FunctionMetric
    from schedsearch.execution.executors import register_executor
    from schedsearch.execution.heartbeat import StopStudy
    from schedsearch.models.adapters import register_adapter
    from schedsearch.reduction.rankers import register_ranker
    from schedsearch.reduction.reduction import Reduction, reduce
    from schedsearch.samplers import register_sampler

__version__ = VERSION

_LAZY = {
    "FunctionMetric": "schedsearch.evaluation.metrics.function",
    "RankerSpec": "schedsearch.core.schedule",
    "Schedule": "schedsearch.core.schedule",
    "Target": "schedsearch.core.schedule",
    "StopStudy": "schedsearch.execution.heartbeat",
    "TrialState": "schedsearch.core.trial",
    "open_study": "schedsearch.app.open",
    "split_samples": "schedsearch.app.splits",
    "search": "schedsearch.app.open",
    "Reduction": "schedsearch.reduction.reduction",
    "reduce": "schedsearch.reduction.reduction",
    "register_adapter": "schedsearch.models.adapters",
    "register_executor": "schedsearch.execution.executors",
    "register_family": "schedsearch.core.families",
    "register_metric": "schedsearch.evaluation.metrics",
    "register_ranker": "schedsearch.reduction.rankers",
    "register_sampler": "schedsearch.samplers",
}

__all__ = [
    "DataError",
    "FunctionMetric",
    "InputError",
    "RankerSpec",
    "Reduction",
    "RunError",
    "Schedule",
    "ScheduleError",
    "SchedsearchError",
    "StopStudy",
    "Target",
    "TrialState",
    "UnsupportedError",
    "open_study",
    "reduce",
    "register_adapter",
    "register_executor",
    "register_family",
    "register_metric",
    "register_ranker",
    "register_sampler",
    "search",
    "split_samples",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the room that owns it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
