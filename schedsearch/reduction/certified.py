"""What a schedule's certificate says of the model that it is applied to."""

import logging
from weakref import WeakKeyDictionary

from torch import nn

from schedsearch.core.certificate import Certificate
from schedsearch.core.schedule import Schedule
from schedsearch.models.fingerprint import mark, memory_fingerprint, weights_fingerprint
from schedsearch.models.precision import precision

log = logging.getLogger(__name__)

_said: "WeakKeyDictionary[nn.Module, tuple[int, list[Certificate]]]" = WeakKeyDictionary()
"""What was spoken of, by model, and the model's mark then: requests come by the thousand, and
weights are many."""

_REMEDY = "and says nothing of it: certify the schedule with this model, loaded as it is served"


def announce(model: nn.Module, schedule: Schedule) -> None:
    """Say what is proven of a schedule, and warn where it is not of this model.

    Once for each model, until its weights, its precision or its adapters change.

    Args:
        model: Unwrapped.
        schedule: That is about to be applied to it.
    """
    proof = schedule.certificate
    if proof is None:
        return
    state = mark(model)
    before, spoken_of = _said.get(model, (None, []))
    if before != state:
        spoken_of = []
    if proof in spoken_of:
        return
    _said[model] = state, [*spoken_of, proof]
    log.info("%s", proof.claim)
    found = doubt(model, proof)
    if found is not None:
        log.warning("%s", found)


def doubt(model: nn.Module, proof: Certificate) -> str | None:
    """Return why a certificate says nothing of a model; None where it speaks of this one.

    Args:
        model: Unwrapped.
        proof: Of one that names no dtype only the digest of memory counts: files know no precision.
    """
    memory, own = memory_fingerprint(model), precision(model)
    digests = {memory} if proof.dtype is None else {memory, weights_fingerprint(model)}
    if digests.isdisjoint(proof.weights):
        known = ", ".join(one[:12] for one in proof.weights)
        return (
            f"the certificate of this schedule was proven of other weights ({known}) than this "
            f"model has in memory ({memory[:12]}), {_REMEDY}"
        )
    if proof.dtype is not None and own != (proof.dtype, proof.quantization):
        return (
            "the certificate of this schedule was proven in another precision "
            f"({_words(proof.dtype, proof.quantization)}) than this model's ({_words(*own)}), "
            f"{_REMEDY}"
        )
    return None


def _words(dtype: str, quantization: str | None) -> str:
    return f"{dtype}, {quantization}" if quantization else dtype
