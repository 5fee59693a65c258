"""A worker: one model, one metric, and the sets that they are asked about."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from statistics import fmean
from typing import Any

from torch import nn

from schedsearch.core.exhibit import ScoredSample
from schedsearch.core.latency import PrefillTiming
from schedsearch.core.sample import FirstSamples, Grid, SampleSet, Split
from schedsearch.core.schedule import Schedule
from schedsearch.core.subject import Encoded, Subject
from schedsearch.core.trial import Evaluated, Portion, Task, Work
from schedsearch.errors import DeviceError, MemoryShortError, SchedsearchError
from schedsearch.evaluation.attention.statistics import AttentionStatistics, attention_statistics
from schedsearch.evaluation.device import device_failures
from schedsearch.evaluation.downsample import Downsampler
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.exhibits import Shot
from schedsearch.evaluation.identity import evaluation_context
from schedsearch.evaluation.latency.timing import time_prefill
from schedsearch.evaluation.metric_identity import metric_identity
from schedsearch.evaluation.metrics import Metric, make_metric
from schedsearch.models.adapters import adapter_for
from schedsearch.models.fingerprint import memory_fingerprint
from schedsearch.models.loading import describe
from schedsearch.models.precision import precision
from schedsearch.models.wrappers import unwrapped

OnProgress = Callable[[int, int], None]


class ModelWorker:
    """Evaluates schedules with one model, by one metric, on the sets that it has.

    Args:
        model: In evaluation mode.
        processor: Its processor.
        metric: What is measured.
        name: What users call the model.
        sets: One for each split that will be asked about; see `add_set`.
        max_prefix_bytes: As for `Evaluator`.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        metric: Metric,
        name: str,
        sets: Sequence[SampleSet] = (),
        *,
        max_prefix_bytes: int | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.metric = metric
        self._name = name
        self._max_prefix_bytes = max_prefix_bytes
        self._sets: dict[Split, SampleSet] = {}
        self._evaluators: dict[tuple[Split, Grid | None], Evaluator] = {}
        for samples in sets:
            self.add_set(samples)

    def add_set(self, samples: SampleSet) -> None:
        """Answer for another set, in place of the one of the same split."""
        self._sets[samples.split] = samples
        for key in [key for key in self._evaluators if key[0] == samples.split]:
            del self._evaluators[key]

    def evaluator(self, split: Split, grid: Grid | None = None) -> Evaluator:
        """The evaluator of a set.

        Args:
            split: Of the set.
            grid: Patches of each image; default: images as they are.

        Raises:
            UnsupportedError: The model cannot take smaller images.
            DataError: The set cannot be used.
        """
        key = (split, grid)
        if key not in self._evaluators:
            samples, bound = self._sets[split], self._max_prefix_bytes
            if grid is None:
                made = Evaluator(
                    self.model, self.processor, samples, self.metric, max_prefix_bytes=bound
                )
            else:
                processor = Downsampler(self.model, self.processor).processor(grid)
                against = self.evaluator(split)
                made = Evaluator(self.model, processor, samples, self.metric, against=against)
            self._evaluators[key] = made
        return self._evaluators[key]

    def portion(self, split: Split | None = None, grid: Grid | None = None) -> Portion:
        """All samples of a set; default: of the first that the worker got."""
        asked = next(iter(self._sets)) if split is None else split
        return Portion(asked, grid, self.evaluator(asked, grid).ids)

    def encoded(self, portion: Portion) -> list[Encoded]:
        """What is to be known of some samples of a set; see `subject`."""
        return self.evaluator(portion.split, portion.grid).encoded(portion.sample_ids)

    def subject(
        self,
        split: Split | None = None,
        grid: Grid | None = None,
        identity: Mapping[str, Any] | None = None,
        encoded: Sequence[Encoded] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Subject:
        """What has to be known of model, metric and a set to ask about them.

        Args:
            split: Of the set; default: the first that the worker got.
            grid: As for `evaluator`.
            identity: Of the metric, where it is known.
            encoded: What is known of all samples, where several workers have found that out.
            on_progress: Called with samples that are encoded, and all.

        Raises:
            UnsupportedError: As `evaluator`.
            DataError: As `evaluator`.
        """
        asked, _, ids = self.portion(split, grid)
        evaluator, samples = self.evaluator(asked, grid), self._sets[asked]
        adapter = adapter_for(self.model)
        context = dict(self._context)
        if identity is not None:
            context["metric"] = dict(identity)
        if grid is not None:
            context["downsampled"] = f"{grid.rows} x {grid.columns}"
        if encoded is None:
            encoded = evaluator.encoded(ids, on_progress)
        return Subject(
            name=samples.name,
            digest=samples.digest(),
            split=asked,
            ids=ids,
            keys=tuple(one.key for one in encoded),
            tokens=tuple(one.tokens for one in encoded),
            shape=adapter.shape(self.model),
            target=describe(self.model, self._name),
            context=context,
            images=tuple(one.images for one in encoded),
            greatest=self.metric.greatest,
            least=self.metric.least,
            binary=self.metric.binary,
            full_pass=sum((one.work for one in encoded), Work()),
            grid=grid,
        )

    @cached_property
    def _context(self) -> Mapping[str, Any]:
        return evaluation_context(self.model, self.processor, self.metric)

    def identity(self) -> dict[str, Any]:
        """What scores depend on besides the metric: equal for all workers of a pool."""
        return {name: value for name, value in self._context.items() if name != "metric"}

    def evaluate(self, task: Task, on_progress: OnProgress | None = None) -> Evaluated:
        """Score the samples of a task.

        Raises:
            DeviceError: The device failed.
        """
        with device_failures():
            return self._evaluated(task, on_progress)

    def _evaluated(self, task: Task, on_progress: OnProgress | None) -> Evaluated:
        smaller: Any = nullcontext()
        try:
            evaluator = self.evaluator(task.split, task.grid)
            if task.grid is not None:
                smaller = Downsampler(self.model, self.processor).interpolating()
        except DeviceError:
            raise
        except SchedsearchError as error:
            return Evaluated(failure=_said(error))
        before = evaluator.work
        try:
            with smaller:
                scores = tuple(evaluator.evaluate(task, on_progress))
        except DeviceError:
            raise
        except SchedsearchError as error:
            short = isinstance(error, MemoryShortError)
            return Evaluated(failure=_said(error), work=evaluator.work - before, short=short)
        return Evaluated(scores, work=evaluator.work - before)

    def exhibits(
        self, split: Split, schedule: Schedule, asked: Sequence[ScoredSample]
    ) -> list[Shot]:
        """What becomes of samples of a set token by token; see `Evaluator.exhibits`."""
        return self.evaluator(split).exhibits(schedule, asked)

    def means(
        self,
        metric: str,
        split: Split,
        schedules: Sequence[Schedule],
        samples: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> tuple[list[float], Work]:
        """Mean score of each schedule by a metric that is named, and what that has cost.

        What neighbours have in common is computed once, where the metric forces answers.

        Args:
            metric: Its name.
            split: Of the set.
            schedules: In the order in which they are evaluated.
            samples: How many of the first samples; default: all.
            on_progress: Called with schedules that are scored, and all.

        Raises:
            InputError: There is no such metric, or it needs answers that the set has not.
            RunError: A schedule cannot be evaluated.
        """
        whole, found = self._sets[split], list[float]()
        asked = whole if samples is None else FirstSamples(whole, samples)
        bound = self._max_prefix_bytes
        evaluator = Evaluator(
            self.model, self.processor, asked, make_metric(metric), max_prefix_bytes=bound
        )
        ids = tuple(sample.id for sample in asked)
        for schedule, following in zip(schedules, [*schedules[1:], None], strict=True):
            shared = schedule.common_layers(following) if following else 0
            scores = evaluator.evaluate(Task(schedule, split, ids, shared))
            found.append(fmean(one.score for one in scores))
            if on_progress is not None:
                on_progress(len(found), len(schedules))
        return found, evaluator.work

    def attention(
        self, split: Split, ranker: str, on_progress: OnProgress | None = None
    ) -> AttentionStatistics:
        """How layers rank and use vision tokens; see `attention_statistics`."""
        samples = self._sets[split]
        return attention_statistics(
            self.model, self.processor, samples, ranker=ranker, on_progress=on_progress
        )

    def labelled(self, split: Split) -> bool:
        """Whether every sample of a set has an answer."""
        return all(sample.answers for sample in self._sets[split])

    def metric_identity(self) -> dict[str, Any]:
        """What the metric's scores depend on now; see `schedsearch.evaluation.identity`."""
        return metric_identity(self.metric)

    def memory_fingerprint(self) -> str:
        """Digest of the weights as memory has them, however the model was loaded."""
        return memory_fingerprint(unwrapped(self.model))

    def precision(self) -> tuple[str, str | None]:
        """Dtype of the weights and their quantization; see `schedsearch.models.precision`."""
        return precision(unwrapped(self.model))

    def grid_within(self, split: Split, flops: float) -> Grid:
        """The largest images within a FLOPs ratio of those of a set.

        Raises:
            UnsupportedError: The model cannot take smaller images.
            InputError: Images of a single patch cost more.
        """
        tokens = self.evaluator(split).sample_tokens()
        return Downsampler(self.model, self.processor).grid_within(flops, tokens)

    def time_prefill(
        self, split: Split, schedule: Schedule, repeats: int, on_progress: OnProgress | None = None
    ) -> PrefillTiming:
        """Time prefills of a set's commonest prompts; see `schedsearch.evaluation.latency`."""
        inputs = self.evaluator(split).prefill_inputs()
        return time_prefill(self.model, inputs, schedule, repeats, on_progress)

    def attention_cover(self, split: Split, samples: int) -> tuple[float, ...]:
        """Share of the vision tokens that hold nearly all attention on vision, layer by layer.

        Raises:
            DataError: There are too few samples.
        """
        first = FirstSamples(self._sets[split], min(len(self._sets[split]), samples))
        found = attention_statistics(self.model, self.processor, first)
        return tuple(one.value for one in found.cover)


def _said(error: SchedsearchError) -> str:
    return str(error) or type(error).__name__
