"""The full model as the reference of metrics that compare: it is asked once per sample."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from schedsearch.core.sample import Sample
from schedsearch.core.trial import Work
from schedsearch.evaluation.answers import greedy_answers, read_off
from schedsearch.evaluation.batching import BatchSize, run_in_batches
from schedsearch.evaluation.encoding import Encoder, Row
from schedsearch.evaluation.metrics import ComparedMetric
from schedsearch.evaluation.verdicts import check_finite
from schedsearch.evaluation.work import full_work_of
from schedsearch.models.adapters import adapter_for

Relieve = Callable[[], bool]


class FullModel:
    """What the model says of samples when no layer removes anything; called outside reductions.

    Args:
        model: A multimodal model with an adapter.
        encoder: Its prompts.
        metric: Says what is compared.
        ends: End tokens.
        size: Of batches; shared with whoever else runs this model.
        relieve: Gives memory back when it runs out.
        max_bytes: Bound on what is kept in host memory; the rest is computed again each time.

    Attributes:
        work: What it has cost; of generated answers, the prefill.
        bytes: What is kept.
    """

    def __init__(
        self,
        model: nn.Module,
        encoder: Encoder,
        metric: ComparedMetric,
        ends: Sequence[int],
        size: BatchSize,
        relieve: Relieve,
        max_bytes: int,
    ) -> None:
        self.metric = metric
        self.work = Work()
        self.bytes = 0
        self._model = model
        self._encoder = encoder
        self._ends = ends
        self._size = size
        self._relieve = relieve
        self._max_bytes = max_bytes
        self._shape = adapter_for(model).shape(model)
        self._answers: dict[str, tuple[int, ...]] = {}
        self._kept: dict[str, torch.Tensor] = {}

    def answer(self, samples: Iterable[Sample]) -> None:
        """Answer the samples that have not been answered yet."""
        new = [one for one in samples if one.id not in self._answers]
        if self.metric.max_new_tokens == 1:
            self._answers.update((one.id, ()) for one in new)
            return
        rows = [Row(one, self._encoder.encode(one)) for one in new]
        for batch in run_in_batches(rows, self._size, self._generate, self._relieve):
            for row, answer in batch:
                self._answers[row.sample_id] = answer

    def forced(self, sample: Sample) -> tuple[int, ...]:
        """The sample's answer without its last token, which need not be read to be predicted."""
        self.answer([sample])
        return self._answers[sample.id]

    def readings(self, samples: Iterable[Sample]) -> dict[str, torch.Tensor]:
        """By sample id, what `read_answers` gives of the full model; on any device."""
        wanted = list(samples)
        found = {one.id: self._kept[one.id] for one in wanted if one.id in self._kept}
        rows = [
            Row(one, self._encoder.encode(one), self.forced(one))
            for one in wanted
            if one.id not in found
        ]
        for batch in run_in_batches(rows, self._size, self._read, self._relieve):
            for row, reading in batch:
                self.keep(row.sample_id, reading)
                found[row.sample_id] = reading
        return found

    def keep(self, sample_id: str, reading: torch.Tensor) -> None:
        """Keep what `read_answers` gave of the full model, where there is room."""
        size = reading.numel() * reading.element_size()
        if sample_id in self._kept or self.bytes + size > self._max_bytes:
            return
        self._kept[sample_id] = reading.to("cpu", copy=True)
        self.bytes += size

    def _read(self, batch: Sequence[Row]) -> list[torch.Tensor]:
        inputs = self._encoder.inputs(batch)
        readings = read_answers(self._model, self.metric, self._ends, inputs, batch)
        self.work += full_work_of(self._shape, batch)
        return readings

    def _generate(self, batch: Sequence[Row]) -> list[tuple[int, ...]]:
        longest = self.metric.max_new_tokens
        inputs = self._encoder.inputs(batch)
        tokens, finite = greedy_answers(self._model, inputs, longest, self._ends)
        check_finite(self.metric, batch, finite)
        self.work += full_work_of(self._shape, batch)
        return [self._before_the_last(row) for row in tokens.tolist()]

    def _before_the_last(self, tokens: list[int]) -> tuple[int, ...]:
        ends = (place for place, token in enumerate(tokens) if token in self._ends)
        return tuple(tokens[: next(ends, len(tokens) - 1)])


def read_answers(
    model: nn.Module,
    metric: ComparedMetric,
    ends: Sequence[int],
    inputs: Mapping[str, torch.Tensor],
    batch: Sequence[Row],
) -> list[torch.Tensor]:
    """What is compared, of the model as it is now: `(n, ...)` for each row.

    Raises:
        RunError: It is not finite.
    """
    steps = [len(row.answer) + 1 for row in batch]
    found, finite = read_off(model, inputs, max(steps), ends, metric.compares)
    check_finite(metric, batch, finite)
    return [reading[-n:] for reading, n in zip(found, steps, strict=True)]
