"""The evaluator: a schedule in, one score per sample out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from schedsearch.core.exhibit import ScoredSample
from schedsearch.core.flops import SampleTokens
from schedsearch.core.reading import counted
from schedsearch.core.sample import SampleSet
from schedsearch.core.schedule import Schedule
from schedsearch.core.shown import shown
from schedsearch.core.subject import Encoded
from schedsearch.core.trial import SampleScore, Task, Work
from schedsearch.errors import DataError, UnsupportedError
from schedsearch.evaluation.answers import end_tokens
from schedsearch.evaluation.batch_scorer import BatchScorer
from schedsearch.evaluation.batching import BatchSize, buckets_of, run_in_batches
from schedsearch.evaluation.encoding import Encoder, Row, by_id
from schedsearch.evaluation.exhibits import Recorder, Shot
from schedsearch.evaluation.full_model import FullModel
from schedsearch.evaluation.metrics import (
    ComparedMetric,
    GeneratedMetric,
    Metric,
    TeacherForcedMetric,
    check_answers,
)
from schedsearch.evaluation.prefix.prefixes import Prefixes
from schedsearch.evaluation.work import full_work_of
from schedsearch.models.adapters import adapter_for

_ANSWER = 32
"""Tokens of the longest answer that is shown, where the metric generates none."""

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""


class Evaluator:
    """Scores schedules on the samples of one set; encodes each sample once.

    Samples run in batches of equal prompt length and equal number of vision tokens, so nothing is
    padded and attention takes its fast causal path. A sample's score does not depend on the
    others up to the rounding of differently shaped matrix products.

    Where answers are forced, a batch that comes again skips the vision tower and the layers that
    the schedule shares with an earlier one; scores are the same to the last bit. Where schedules
    are compared with the full model, it is asked once per sample. The model's weights must not
    change meanwhile.

    Args:
        model: A multimodal model in evaluation mode.
        processor: Its processor.
        samples: The set; tasks name its samples.
        metric: What is measured.
        batch_size: Most samples in a batch, halved while memory runs out; default: from the
            model's size and the memory.
        template: Jinja chat template; default: the processor's.
        max_cache_bytes: Bound on the pixel values kept between tasks, in host memory.
        max_prefix_bytes: Bound on the states kept between tasks, in device and host memory
            together; 0 keeps none. Default: a quarter of the free device memory, and of the
            available host memory at most 16 GiB; set it where many evaluators share a host.
        max_reference_bytes: Bound on what is kept of the full model where schedules are compared
            with it, in host memory.
        against: Evaluator of the same samples and metric whose full model is compared with, where
            it sees other images; default: this one.

    Raises:
        InputError: `batch_size` is below 1, or `max_prefix_bytes` is negative.
        UnsupportedError: The model has no adapter, no end token, or is in training mode; or there
            is no chat template.
        DataError: The set is empty or repeats an id, or a sample has no answers although the
            metric compares with them.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        samples: SampleSet,
        metric: Metric,
        *,
        batch_size: int | None = None,
        template: str | None = None,
        max_cache_bytes: int = 1 << 30,
        max_prefix_bytes: int | None = None,
        max_reference_bytes: int = 1 << 30,
        against: "Evaluator | None" = None,
    ) -> None:
        self.model: Any = model
        self.processor = processor
        self.metric = metric
        self._set = samples
        self._samples = by_id(samples)
        check_answers(samples, metric)
        self._encoder = Encoder(model, processor, template, max_cache_bytes)
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._size = BatchSize.choose(model, batch_size)
        self._shape = adapter_for(model).shape(model)
        ends = end_tokens(model)
        generated = isinstance(metric, GeneratedMetric)
        self._prefixes = Prefixes(model, 0 if generated else max_prefix_bytes, len(self._samples))
        self._full: FullModel | None = None
        if isinstance(metric, ComparedMetric):
            self._full = FullModel(
                model,
                self._encoder,
                metric,
                ends,
                self._size,
                self._prefixes.relieve,
                max_reference_bytes,
            )
        self._against = against._full if against else self._full
        self._scorer = BatchScorer(
            model,
            metric,
            self._encoder,
            ends,
            self._prefixes,
            self._against,
            itself=self._against is self._full,
        )

    @property
    def full_schedule(self) -> Schedule:
        """The schedule under which every layer keeps everything."""
        return Schedule.full(self._shape.layers)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the samples, in the order of the set."""
        return tuple(self._samples)

    @property
    def work(self) -> Work:
        """What all batches run so far have cost; of generated answers, the prefill alone."""
        return self._scorer.work + self._full.work if self._full else self._scorer.work

    def full_work(self, ids: Iterable[str] | None = None) -> Work:
        """What one pass over the samples costs if every layer keeps everything; default: all.

        Every forced reference is a pass of its own; of answers that the model gives itself, the
        prefill counts.

        Raises:
            DataError: As `sample_tokens`, or an answer cannot be encoded.
        """
        wanted = list(self._samples if ids is None else ids)
        self._check_ids(wanted)
        rows = (row for one in wanted for row in self._prompts_of(one))
        return sum((full_work_of(self._shape, [row]) for row in rows), Work())

    @property
    def prefix_bytes(self) -> int:
        """Bytes of the states kept between tasks."""
        return self._prefixes.bytes

    @property
    def peak_prefix_bytes(self) -> int:
        """Most bytes of states ever kept between tasks."""
        return self._prefixes.peak

    def sample_tokens(self, ids: Iterable[str] | None = None) -> list[SampleTokens]:
        """Vision and text tokens of the prompts, in the order of `ids`; default: the whole set.

        Raises:
            DataError: Unknown id, broken image, or a prompt without vision tokens.
        """
        wanted = list(self._samples if ids is None else ids)
        self._check_ids(wanted)
        return [self._encoder.encode(self._samples[one]).counts for one in wanted]

    def encoded(
        self, ids: Iterable[str] | None = None, on_progress: Progress | None = None
    ) -> list[Encoded]:
        """What is to be known of samples before they are scored, in the order of `ids`.

        Args:
            ids: Of the samples; default: the whole set.
            on_progress: Told how many samples are encoded, of how many.

        Raises:
            DataError: Unknown id, broken image, a prompt without vision tokens, or an answer that
                cannot be encoded.
        """
        wanted = list(self._samples if ids is None else ids)
        self._check_ids(wanted)
        found = []
        for name in counted(wanted, on_progress):
            one = self._encoder.encode(self._samples[name])
            found.append(Encoded(one.key, one.counts, one.images, self.full_work([name])))
        return found

    def prefill_inputs(self, ids: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """Arguments of one forward over prompts, without padding, on the model's device.

        Returns:
            A full batch of those samples, of the whole set by default, whose prompts have the
            commonest length; `input_ids` is `(batch, sequence)`.

        Raises:
            DataError: As `sample_tokens`.
        """
        wanted = list(self._samples if ids is None else ids)
        self._check_ids(wanted)
        samples = [self._samples[one] for one in wanted]
        rows = [Row(sample, self._encoder.encode(sample)) for sample in samples]
        commonest = max(buckets_of(rows), key=len)
        return self._encoder.inputs(commonest[: self._size.fitting(commonest[0].width)])

    def evaluate(self, task: Task, on_progress: Progress | None = None) -> list[SampleScore]:
        """One score per sample, in the order of the task.

        Args:
            task: Schedule and samples; its split must be the set's.
            on_progress: Called after every batch.

        Raises:
            DataError: The split differs, an id is unknown, a sample cannot be encoded.
            ScheduleError: The schedule does not fit the model.
            RunError: A sample does not fit into memory, or its score is not finite.
        """
        if task.split != self._set.split:
            raise DataError(
                f"the task asks for split {shown(task.split)}, but {self._set.name} is "
                f"{shown(self._set.split)}; evaluate it with the set of that split"
            )
        if self.model.training:
            raise UnsupportedError(
                "the model is in training mode, where dropout makes scores random; call "
                "`model.eval()`"
            )
        self._check_ids(task.sample_ids)
        self._prefixes.begin(len(task.sample_ids))
        scores: dict[str, SampleScore] = {}

        def run(batch: Sequence[Row]) -> list[SampleScore]:
            return self._scorer.scores(task, batch)

        with torch.inference_mode():
            if self._against is not None:
                self._against.answer(self._samples[one] for one in task.sample_ids)
            rows = [row for one in task.sample_ids for row in self._rows_of(one)]
            missing = {one: len(self._rows_of(one)) for one in task.sample_ids}
            for batch in run_in_batches(rows, self._size, run, self._prefixes.relieve):
                for row, score in batch:
                    missing[row.sample_id] -= 1
                    best = scores.get(row.sample_id, score)
                    scores[row.sample_id] = max(best, score, key=lambda one: one.score)
                if on_progress is not None:
                    on_progress(sum(left == 0 for left in missing.values()), len(missing))
        return [scores[one] for one in task.sample_ids]

    def exhibits(self, schedule: Schedule, asked: Sequence[ScoredSample]) -> list[Shot]:
        """What becomes of some samples token by token; see `Recorder.record`.

        Args:
            schedule: What they are shown under.
            asked: The samples, with their scores.

        Raises:
            DataError: Unknown id, or a sample that cannot be encoded.
            RunError: The model failed on a sample.
        """
        self._check_ids(one.id for one in asked)
        metric, places = self.metric, {name: at for at, name in enumerate(self._samples)}
        longest = metric.max_new_tokens if isinstance(metric, GeneratedMetric) else _ANSWER
        recorder = Recorder(
            self.model,
            self.processor,
            self._encoder,
            end_tokens(self.model),
            self._size,
            self._prefixes.relieve,
            longest,
        )
        rows = []
        for one in asked:
            sample = self._samples[one.id]
            rows.append((places[one.id], Row(sample, self._encoder.encode(sample)), one))
        return recorder.record(schedule, self._set.split, rows)

    def _check_ids(self, ids: Iterable[str]) -> None:
        unknown = [one for one in ids if one not in self._samples]
        if unknown:
            raise DataError(
                f"{self._set.name} has no sample {shown(unknown[0])}; name samples of this set"
            )

    def _rows_of(self, sample_id: str) -> tuple[Row, ...]:
        """One row per reference that counts; a single one where the model answers itself."""
        rows = self._prompts_of(sample_id)
        if self._against is None:
            return rows
        answer = self._against.forced(self._samples[sample_id])
        return tuple(replace(row, answer=answer) for row in rows)

    def _prompts_of(self, sample_id: str) -> tuple[Row, ...]:
        """Its rows, without what only the full model can say."""
        if sample_id not in self._rows:
            sample = self._samples[sample_id]
            prompt = self._encoder.encode(sample)
            answers: list[tuple[int, ...]] = [()]
            if isinstance(self.metric, TeacherForcedMetric):
                counted = self.metric.references(sample.answers)
                answers = [self._encoder.answer_tokens(sample, one) for one in counted]
            unique = dict.fromkeys(answers)
            self._rows[sample_id] = tuple(Row(sample, prompt, one) for one in unique)
        return self._rows[sample_id]
