"""Failures of the device that a model is on, told from those of the model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from schedsearch.errors import DeviceError

_BEGINNINGS = ("CUDA error", "HIP error", "NCCL")
_BROKEN = tuple(
    f"_STATUS_{one}"
    for one in ("EXECUTION_FAILED", "INTERNAL_ERROR", "MAPPING_ERROR", "NOT_INITIALIZED")
)
"""Of cuBLAS, cuDNN and those of ROCm; their other states speak of arguments."""


@contextmanager
def device_failures() -> Iterator[None]:
    """A block in which `DeviceError` takes the place of what torch raises where a device fails."""
    try:
        yield
    except RuntimeError as error:
        if not is_device_failure(error) or is_out_of_memory(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceError.of(lines[0]) from error


def is_device_failure(error: BaseException) -> bool:
    """Whether an exception says that a device, not the model or its input, is at fault."""
    if not isinstance(error, RuntimeError):
        return False
    text = str(error)
    if "_STATUS_" in text:
        return any(state in text for state in _BROKEN)
    return isinstance(error, torch.AcceleratorError) or text.startswith(_BEGINNINGS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that host or device memory ran out, in any of torch's wordings."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    phrases = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
