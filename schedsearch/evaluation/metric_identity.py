"""What tells one metric from another: name, settings, and all that its code is and calls."""

import math
import uuid
from typing import Any

from schedsearch.evaluation.metrics import METRICS, FunctionMetric, Metric
from schedsearch.evaluation.recognition import recognise


def metric_identity(metric: Metric) -> dict[str, Any]:
    """What a metric's scores depend on, as plain JSON values.

    Name and settings; for a metric that is not ours also its `version`, or else all its `code` and
    state by part, as `recognise` follows them. What that could not follow is `unknown`, with a
    number that no other identity ever has: better evaluated again than a wrong score.
    """
    own = {name: value for name, value in sorted(vars(metric).items()) if name not in _SAID}
    if METRICS.has_built_in(type(metric)):
        return {"name": metric.name, "settings": {name: plain(own[name]) for name in own}}
    settings = {name: plain(value) for name, value in own.items() if isinstance(value, _PLAIN)}
    described: dict[str, Any] = {"name": metric.name, "settings": settings}
    if metric.version is not None:
        return {**described, "version": str(metric.version)}
    scorer = metric.function if type(metric) is FunctionMetric else metric
    found = recognise(scorer, metric.name)
    described["code"] = dict(found.parts)
    if found.unknown:
        described |= {"unknown": dict(found.unknown), "once": str(uuid.uuid4())}
    return described


_PLAIN = (str, int, float, bool, type(None))

_SAID = ("name", "version")
"""Attributes of a metric that have a place of their own in its identity."""


def plain(value: Any) -> Any:
    """A value as JSON has it, or its representation."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite and isinstance(value, _PLAIN) else repr(value)
