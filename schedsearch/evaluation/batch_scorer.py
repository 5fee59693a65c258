"""Scores of one batch under a schedule, for each kind of metric."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import SampleScore, Task, Work
from schedsearch.evaluation.answers import force_answers, greedy_answers
from schedsearch.evaluation.encoding import Encoder, Row
from schedsearch.evaluation.full_model import FullModel, read_answers
from schedsearch.evaluation.metrics import (
    AnswerPredictions,
    ComparedMetric,
    GeneratedMetric,
    Metric,
    TeacherForcedMetric,
)
from schedsearch.evaluation.prefix.prefixes import Inputs, Prefixes
from schedsearch.evaluation.verdicts import check_finite, compare, judge, sample_scores
from schedsearch.evaluation.work import work_of
from schedsearch.models.adapters import adapter_for
from schedsearch.reduction.reduction import Reduction, reduce

T = TypeVar("T")
Counts = tuple[int, ...]


class BatchScorer:
    """Runs batches of equal rows and asks the metric.

    Args:
        model: A multimodal model with an adapter.
        metric: What is measured.
        encoder: Of the rows.
        ends: End tokens.
        prefixes: What is kept between tasks; not used where answers are generated.
        full: What schedules are compared with, where the metric compares.
        itself: Whether `full` sees what the batches hold, so that keeping everything equals it.

    Attributes:
        work: What all batches have cost; of generated answers, the prefill.
    """

    def __init__(
        self,
        model: Any,
        metric: Metric,
        encoder: Encoder,
        ends: Sequence[int],
        prefixes: Prefixes,
        full: FullModel | None,
        *,
        itself: bool,
    ) -> None:
        self.work = Work()
        self._model = model
        self._metric = metric
        self._encoder = encoder
        self._ends = ends
        self._prefixes = prefixes
        self._full = full
        self._itself = itself
        self._shape = adapter_for(model).shape(model)

    def scores(self, task: Task, batch: Sequence[Row]) -> list[SampleScore]:
        """One score per row.

        Args:
            task: Schedule, and how much of it later tasks will share.
            batch: Rows of one bucket.

        Raises:
            ScheduleError: The schedule does not fit the model.
            RunError: A score is not finite, or the metric failed.
        """
        counts = task.schedule.counts(batch[0].prompt.n_vision)
        metric, texts, first = self._metric, None, 0
        if isinstance(metric, ComparedMetric):
            scores, first = self._compare(metric, task, batch, counts)
        elif isinstance(metric, TeacherForcedMetric):
            scores, first = self._force(metric, task, batch, counts)
        else:
            assert isinstance(metric, GeneratedMetric)
            scores, texts = self._generate(metric, task.schedule, batch)
        self.work += work_of(self._shape, batch, counts, first)
        return sample_scores(metric, batch, scores, texts)

    def _force(
        self, metric: TeacherForcedMetric, task: Task, batch: Sequence[Row], counts: Counts
    ) -> tuple[list[float], int]:
        answers = [row.answer for row in batch]

        def forward(inputs: Inputs) -> AnswerPredictions:
            return force_answers(self._model, inputs, answers, self._ends)

        predictions, first = self._run(task, batch, counts, forward)
        check_finite(metric, batch, predictions.log_probs.isfinite().all(1).tolist())
        return metric.scores(predictions).tolist(), first

    def _generate(
        self, metric: GeneratedMetric, schedule: Schedule, batch: Sequence[Row]
    ) -> tuple[list[float], list[str]]:
        with reduce(self._model, schedule) as reduction:
            inputs = self._inputs(reduction, batch)
            tokens, finite = greedy_answers(self._model, inputs, metric.max_new_tokens, self._ends)
        texts = self._encoder.decode(tokens)
        check_finite(metric, batch, finite)
        return [judge(metric, *pair) for pair in zip(batch, texts, strict=True)], texts

    def _compare(
        self, metric: ComparedMetric, task: Task, batch: Sequence[Row], counts: Counts
    ) -> tuple[list[float], int]:
        full = self._full
        assert full is not None
        whole = self._itself and set(counts) == {batch[0].prompt.n_vision}
        references = {} if whole else full.readings(row.sample for row in batch)

        def forward(inputs: Inputs) -> list[torch.Tensor]:
            return read_answers(self._model, metric, self._ends, inputs, batch)

        readings, first = self._run(task, batch, counts, forward)
        scores = []
        for row, reading in zip(batch, readings, strict=True):
            if whole:
                full.keep(row.sample_id, reading)
            reference = references.get(row.sample_id, reading).to(reading.device)
            scores.append(compare(metric, row, reference, reading))
        return scores, first

    def _run(
        self, task: Task, batch: Sequence[Row], counts: Counts, forward: Callable[[Inputs], T]
    ) -> tuple[T, int]:
        """What one forward under the schedule gives, and the first layer that ran for it."""
        key = tuple((row.sample_id, row.answer) for row in batch)
        with (
            reduce(self._model, task.schedule) as reduction,
            self._prefixes.preparing(reduction, task.shared),
        ):

            def encode() -> Inputs:
                return self._inputs(reduction, batch)

            if not self._prefixes.bound:
                return forward(encode()), 0
            return self._prefixes.run(reduction, key, counts, task.shared, encode, forward)

    def _inputs(self, reduction: Reduction, batch: Sequence[Row]) -> dict[str, torch.Tensor]:
        lengths = [len(row.prompt.tokens) for row in batch]
        reduction.prompt(lengths=lengths, keys=[row.prompt.key for row in batch])
        return self._encoder.inputs(batch)
