"""Batches: nothing padded, nothing lost, nothing run twice."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schedsearch.core.flops import DecoderShape
from schedsearch.errors import DeviceError, RunError
from schedsearch.evaluation.batching import BatchSize, run_in_batches
from schedsearch.evaluation.device import device_failures, is_out_of_memory

SHAPE = DecoderShape(8, 128, 4, 4, 32, 320, 80)


@dataclass(frozen=True)
class Item:
    sample_id: str
    width: int

    @property
    def bucket(self) -> int:
        return self.width


@settings(max_examples=30)  # each shortage of memory collects garbage, which takes a while
@given(
    widths=st.lists(st.integers(1, 5), max_size=40),
    rows=st.integers(1, 12),
    memory=st.integers(5, 60),
)
def test_every_row_succeeds_once_whatever_fits(widths: list[int], rows: int, memory: int) -> None:
    items = [Item(str(number), width) for number, width in enumerate(widths)]
    done: list[Item] = []

    def run(batch: Sequence[Item]) -> list[str]:
        assert len({item.bucket for item in batch}) == 1
        if sum(item.width for item in batch) > memory:
            raise torch.OutOfMemoryError("out of memory")
        done.extend(batch)
        return [item.sample_id for item in batch]

    results = [pair for batch in run_in_batches(items, BatchSize(rows), run) for pair in batch]

    assert all(item.sample_id == result for item, result in results)
    assert sorted(done, key=lambda item: int(item.sample_id)) == items
    assert [item for item, _ in results] == done


def test_the_longest_rows_run_first_and_what_did_not_fit_is_remembered() -> None:
    items = [Item(str(number), width) for number, width in enumerate([2] * 8 + [4] * 8)]
    tried: list[tuple[int, int]] = []

    def run(batch: Sequence[Item]) -> list[int]:
        tried.append((batch[0].width, len(batch)))
        if batch[0].width * len(batch) > 16:
            raise RuntimeError("CUDA error: out of memory")
        return [0] * len(batch)

    list(run_in_batches(items, BatchSize(8), run))

    assert tried == [(4, 8), (4, 4), (4, 4), (2, 8)]


def test_a_row_that_does_not_fit_alone_is_named() -> None:
    def run(_batch: Sequence[Item]) -> list[int]:
        raise MemoryError

    with pytest.raises(RunError, match="sample 'b' with 9 tokens does not fit into memory alone"):
        list(run_in_batches([Item("b", 9)], BatchSize(4), run))


def test_errors_of_our_own_pass_unchanged() -> None:
    def run(_batch: Sequence[Item]) -> list[int]:
        raise RunError("as it is")

    with pytest.raises(RunError, match="^as it is$"):
        list(run_in_batches([Item("b", 9)], BatchSize(4), run))


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate"),
            False,
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (MemoryError(), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory of words"), False),
    ],
)
def test_out_of_memory_is_told_from_other_failures(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


DEVICE_FAILURES = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure\nFor debugging consider"),
    RuntimeError("HIP error: device kernel image is invalid"),
    RuntimeError("NCCL error in: ProcessGroupNCCL.cpp"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]


@pytest.mark.parametrize("error", DEVICE_FAILURES, ids=str)
def test_a_failure_of_the_device_is_not_one_of_the_samples(error: Exception) -> None:
    def run(_batch: Sequence[Item]) -> list[int]:
        raise error

    said = re.escape(str(error).splitlines()[0])
    with pytest.raises(DeviceError, match=rf"^the device has failed \({said}\); .* run again"):
        list(run_in_batches([Item("b", 9)], BatchSize(4), run))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`"),
        RuntimeError("CUDA error: out of memory"),
        ValueError("CUDA error"),
    ],
    ids=str,
)
def test_other_failures_are_not_those_of_the_device(error: Exception) -> None:
    with pytest.raises(type(error)), device_failures():
        raise error


def test_the_first_guess_falls_with_the_model_and_with_the_prompt() -> None:
    small = BatchSize.automatic(SHAPE, torch.device("cpu"), 4)
    large = BatchSize.automatic(
        DecoderShape(32, 4096, 32, 32, 128, 11008, 32000), torch.device("cpu"), 4
    )

    assert small.fitting(80) > small.fitting(800) >= 1
    assert large.fitting(616) == 1
    assert 8 <= small.fitting(80) <= 64
