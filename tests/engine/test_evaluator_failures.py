"""What the evaluator does when memory runs out, the model fails, or it is asked nonsense."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from schedsearch.core.sample import Sample
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.errors import DataError, DeviceError, InputError, RunError, UnsupportedError
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import GeneratedMetric, make_metric
from schedsearch.evaluation.worker import ModelWorker
from tests.engine.embedded import IDS, QUESTIONS, REDUCED, Listed, embedded, full, task


def evaluator(metric: str = "exact_match", **options: Any) -> Evaluator:
    return Evaluator(*embedded(), QUESTIONS, make_metric(metric), **options)


def limit_memory(monkeypatch: pytest.MonkeyPatch, rows: int, error: Exception) -> list[int]:
    """Make the embedded model fail on larger batches; returns the sizes of those that ran."""
    model, _ = embedded()
    forward, ran = model.forward, []

    def limited(*args: Any, **kwargs: Any) -> Any:
        size = len(kwargs["input_ids"])
        output = forward(*args, **kwargs)
        if size > rows:
            raise error
        ran.append(size)
        return output

    monkeypatch.setattr(model, "forward", limited)
    return ran


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ids = IDS[:20]
    expected = evaluator("log_likelihood").evaluate(task(REDUCED, ids))
    ran = limit_memory(monkeypatch, 3, error)
    made = evaluator("log_likelihood")

    found = made.evaluate(task(REDUCED, ids))

    assert [score.sample_id for score in found] == list(ids)
    assert [score.score for score in found] == pytest.approx(
        [score.score for score in expected], abs=1e-4
    )
    assert sum(ran) == len(ids), "every sample succeeds exactly once"


def test_a_sample_that_does_not_fit_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))

    with pytest.raises(RunError, match=r"'calibration/000000' with \d+ tokens does not fit"):
        evaluator().evaluate(task(REDUCED, IDS[:1]))


def test_other_failures_of_the_model_are_named_and_leave_it_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        limit_memory(patch, 0, ValueError("image features and image tokens do not match"))
        with pytest.raises(RunError, match=r"failed on samples calibration/000000.*do not match"):
            evaluator().evaluate(task(REDUCED, IDS[:1]))

    assert len(evaluator().evaluate(task(REDUCED, IDS[:1]))) == 1


def test_a_worker_reports_a_failed_task_and_raises_where_its_device_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = ModelWorker(*embedded(), make_metric("exact_match"), "embedded", [QUESTIONS])
    with monkeypatch.context() as patch:
        limit_memory(patch, 0, RuntimeError("sizes do not match"))
        assert "sizes do not match" in worker.evaluate(task(REDUCED, IDS[:1])).failure

    limit_memory(monkeypatch, 0, torch.AcceleratorError("CUDA error: unspecified launch failure"))
    with pytest.raises(DeviceError, match="the device has failed .*unspecified launch failure"):
        worker.evaluate(task(REDUCED, IDS[:1]))


def test_a_worker_says_where_memory_was_short(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = ModelWorker(*embedded(), make_metric("exact_match"), "embedded", [QUESTIONS])
    limit_memory(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    found = worker.evaluate(task(REDUCED, IDS[:1]))
    assert found.short and "does not fit into memory alone" in found.failure


def test_a_worker_raises_where_its_device_fails_as_memory_is_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dead() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    worker = ModelWorker(*embedded(), make_metric("exact_match"), "embedded", [QUESTIONS])
    limit_memory(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr("schedsearch.evaluation.batching._release_memory", dead)
    with pytest.raises(DeviceError, match="illegal memory access"):
        worker.evaluate(task(REDUCED, IDS[:1]))


@pytest.mark.parametrize("metric", ["exact_match", "log_likelihood", "vqa_accuracy"])
def test_logits_that_are_not_finite_are_an_error_that_names_the_sample(
    monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    model, _ = embedded()
    monkeypatch.setattr(model.lm_head.weight, "data", torch.full((80, 128), float("nan")))

    with pytest.raises(RunError, match=rf"{metric} of sample 'calibration/000003' must be finite"):
        evaluator(metric).evaluate(task(full(), IDS[3:4]))


class Judge(GeneratedMetric):
    """A metric as users write them."""

    name = "judge"
    max_new_tokens = 2

    def __init__(self, judge: Callable[[str], float]) -> None:
        self.judge = judge

    def score(self, prediction: str, answers: Any) -> float:  # noqa: ARG002
        return self.judge(prediction)


def _fail(_: str) -> float:
    raise KeyError("no such answer")


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda _: float("nan"), "judge of sample 'calibration/000000' must be finite, but got"),
        (_fail, r"judge failed on sample 'calibration/000000', answered '\w+': KeyError"),
    ],
)
def test_faults_of_a_users_metric_are_errors_that_name_the_sample(
    judge: Callable[[str], float], message: str
) -> None:
    made = Evaluator(*embedded(), QUESTIONS, Judge(judge))

    with pytest.raises(RunError, match=message):
        made.evaluate(task(full(), IDS[:1]))


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (Task(full(), "held-out", IDS[:1]), DataError, "asks for split 'held-out', but"),
        (Task(full(), "calibration", ("x",)), DataError, "has no sample 'x'"),
        (Task(Schedule.full(3), "calibration", IDS[:1]), InputError, "8 decoder layers"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(
    asked: Task, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluator().evaluate(asked)


def test_settings_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = embedded()
    metric = make_metric("exact_match")
    with pytest.raises(InputError, match="`batch_size` must be at least 1, but got 0"):
        evaluator(batch_size=0)
    samples = [Sample(name, "?", (), next(iter(QUESTIONS)).images) for name in "st"]
    with pytest.raises(DataError, match="'s' of listed has no answers, but exact_match"):
        Evaluator(model, processor, Listed(samples[0]), metric)
    with pytest.raises(DataError, match="'s' of listed has no answers, nor have 1 others, but"):
        Evaluator(model, processor, Listed(*samples, *QUESTIONS), metric)
    with monkeypatch.context() as patch:
        patch.setattr(model, "training", True)
        with pytest.raises(UnsupportedError, match="training mode"):
            evaluator().evaluate(task(full(), IDS[:1]))
    monkeypatch.setattr(model.generation_config, "eos_token_id", None)
    with pytest.raises(UnsupportedError, match="names no end token"):
        evaluator()
