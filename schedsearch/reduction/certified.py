"""What a schedule's certificate says of the model that it is applied to."""

import logging
from weakref import WeakKeyDictionary

from torch import nn

from schedsearch.core.schedule import Schedule
from schedsearch.models.fingerprint import memory_fingerprint, weights_fingerprint

log = logging.getLogger(__name__)

_said: "WeakKeyDictionary[nn.Module, set[str]]" = WeakKeyDictionary()
"""Schedules that were spoken of, by model: requests come by the thousand, and weights are many."""


def announce(model: nn.Module, schedule: Schedule) -> None:
    """Say what is proven of a schedule, once for each model; warn where it is not of this model.

    Args:
        model: Unwrapped.
        schedule: That is about to be applied to it.
    """
    proof = schedule.certificate
    if proof is None or proof.schedule in _said.setdefault(model, set()):
        return
    _said[model].add(proof.schedule)
    log.info("%s", proof.claim)
    own = weights_fingerprint(model)
    if own not in proof.weights and memory_fingerprint(model) not in proof.weights:
        log.warning(
            "the certificate of this schedule was proven of other weights (%s) than this model's "
            "(%s), and says nothing of it: certify the schedule with this model, loaded as it is "
            "served",
            ", ".join(one[:12] for one in proof.weights),
            own[:12],
        )
